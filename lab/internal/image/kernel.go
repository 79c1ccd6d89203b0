package image

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"zcbench/lab/internal/mirror"
)

// Lines are the kernel versions that the module is known to build for, the
// preferred one first.
var Lines = []string{"7.3", "7.2"}

// ErrNoKernel says that the archive has no such kernel.
var ErrNoKernel = errors.New("the archive has no kernel")

// flavour is one of the kernels that the distribution builds of a version; the
// releases of its kernels end with it.
type flavour string

// cloud is the one for virtual machines: all that most tests need, with a fifth
// of the modules. full has the drivers of NICs that are made.
const (
	cloud flavour = "cloud-amd64"
	full  flavour = "amd64"
)

// olderSuites have the kernels before those of the backports.
var olderSuites = []string{"bookworm", "bookworm-backports"}

// kernel is one that the distribution offers.
type kernel struct {
	release string
	image   []string // the packages with its image and modules
	headers bool
}

// kernels finds the kernels of a flavour in a list of package names, the newest
// first.
func kernels(names []string, f flavour) []kernel {
	has := map[string]bool{}
	for _, n := range names {
		has[n] = true
	}
	// Between a version, as 7.3.4+deb13 or 6.1.0-50, and the flavour is no other.
	image := regexp.MustCompile(`^linux-(?:binary-unsigned|image)-(\d[^ -]*(?:-\d+)?-` + string(f) + `)$`)
	var ks []kernel
	for _, n := range names {
		m := image.FindStringSubmatch(n)
		if m == nil {
			continue
		}
		k := kernel{release: m[1], headers: has["linux-headers-"+m[1]]}
		switch {
		case slices.ContainsFunc(ks, func(o kernel) bool { return o.release == k.release }):
			continue
		case has["linux-binary-unsigned-"+k.release] && has["linux-modules-"+k.release]:
			// Since 7.2 the modules have a package of their own.
			k.image = []string{"linux-binary-unsigned-" + k.release, "linux-modules-" + k.release}
		case has["linux-image-"+k.release+"-unsigned"]:
			k.image = []string{"linux-image-" + k.release + "-unsigned"}
		default:
			k.image = []string{"linux-image-" + k.release}
		}
		ks = append(ks, k)
	}
	slices.SortFunc(ks, func(a, b kernel) int { return -compareReleases(a.release, b.release) })
	return ks
}

// pick chooses among kernels, the newest first. Without a spec it is the best
// of Lines that can be built for.
func pick(ks []kernel, spec string) (kernel, bool) {
	if spec == "" {
		for _, line := range Lines {
			if i := slices.IndexFunc(ks, func(k kernel) bool { return k.headers && matches(k.release, line) }); i >= 0 {
				return ks[i], true
			}
		}
		return kernel{}, false
	}
	// One with headers is worth more than a newer one of the same line.
	for _, headers := range []bool{true, false} {
		if i := slices.IndexFunc(ks, func(k kernel) bool { return k.headers == headers && matches(k.release, spec) }); i >= 0 {
			return ks[i], true
		}
	}
	return kernel{}, false
}

// matches reports whether spec is release, or its beginning up to a boundary.
func matches(release, spec string) bool {
	rest, ok := strings.CutPrefix(release, spec)
	return ok && (rest == "" || strings.ContainsRune(".+-", rune(rest[0])))
}

// compareReleases orders releases by the numbers in them.
func compareReleases(a, b string) int {
	digits := regexp.MustCompile(`\d+`)
	as, bs := digits.FindAllString(a, -1), digits.FindAllString(b, -1)
	return cmp.Or(slices.CompareFunc(as, bs, func(x, y string) int {
		nx, _ := strconv.Atoi(x)
		ny, _ := strconv.Atoi(y)
		return cmp.Compare(nx, ny)
	}), strings.Compare(a, b))
}

// resolve turns spec into a release, which it remembers: only the first call
// asks the archive.
func (s *Store) resolve(ctx context.Context, spec string, f flavour) (string, error) {
	name := s.path("kernel-" + cmp.Or(spec, "default") + "-" + string(f))
	if b, err := os.ReadFile(name); err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	a, err := s.archive(ctx)
	if err != nil {
		return "", err
	}
	k, err := s.find(ctx, a, spec, f)
	if err != nil {
		return "", err
	}
	return k.release, os.WriteFile(name, []byte(k.release+"\n"), 0o644)
}

// find looks a kernel up in the archive, in the older suites too if it has to.
func (s *Store) find(ctx context.Context, a *mirror.Archive, spec string, f flavour) (kernel, error) {
	var ks []kernel
	for _, more := range [][]string{nil, olderSuites} {
		if more != nil {
			if err := a.Update(ctx, more...); err != nil {
				return kernel{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		}
		names, err := a.Names(ctx, "linux-")
		if err != nil {
			return kernel{}, err
		}
		ks = kernels(names, f)
		if k, ok := pick(ks, spec); ok {
			return k, nil
		}
	}
	var have []string
	for _, k := range ks {
		have = append(have, k.release)
	}
	return kernel{}, fmt.Errorf("%w %s; it has %s", ErrNoKernel, cmp.Or(spec, strings.Join(Lines, " or ")), strings.Join(have, ", "))
}

// archive returns the package archive with fresh lists, which it reads once.
func (s *Store) archive(ctx context.Context) (*mirror.Archive, error) {
	if s.pkgs != nil {
		return s.pkgs, nil
	}
	a, err := mirror.Open(s.path("apt"), s.Log)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := a.Update(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	s.pkgs = a
	return a, nil
}

// prepareTree returns the image of a bzImage that the user built.
func (s *Store) prepareTree(ctx context.Context, w Want) (Image, error) {
	bzImage := w.Kernel
	release, err := bzImageRelease(bzImage)
	if err != nil {
		return Image{}, err
	}
	tools, err := s.tools(ctx)
	if err != nil {
		return Image{}, err
	}
	qemu, err := s.qemu(ctx)
	if err != nil {
		return Image{}, err
	}
	dir := s.path("boot-tree")
	img := Image{Release: release, Kernel: bzImage, Initramfs: filepath.Join(dir, "initramfs.cpio"), QEMU: qemu}
	if err := s.ensure(dir, func(tmp string) error {
		return makeInitramfs(ctx, filepath.Join(tmp, "initramfs.cpio"), tools, "", "")
	}); err != nil {
		return Image{}, err
	}
	if !w.Module {
		return img, nil
	}
	// bzImage is at arch/x86/boot of the tree it was built in.
	tree, err := filepath.Abs(filepath.Join(filepath.Dir(bzImage), "../../.."))
	if err != nil {
		return Image{}, err
	}
	if _, err := os.Stat(filepath.Join(tree, "Module.symvers")); err != nil {
		fmt.Fprintf(s.Log, "lab: no zcnic: %s is not a tree that modules can be built for\n", tree)
		return img, nil
	}
	mod := s.path("zcnic-tree")
	if err := os.RemoveAll(mod); err != nil {
		return Image{}, err
	}
	if err := os.MkdirAll(mod, 0o755); err != nil {
		return Image{}, err
	}
	if err := copySources(s.Module, mod); err != nil {
		return Image{}, err
	}
	if err := run(ctx, "make", "-s", "-C", tree, "M="+mod, "modules"); err != nil {
		return Image{}, fmt.Errorf("build zcnic.ko in %s: %w", tree, err)
	}
	img.Module = filepath.Join(mod, "zcnic.ko")
	return img, nil
}

// bzImageRelease reads the release from the header of an x86 kernel image.
func bzImageRelease(name string) (string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	// Documentation/arch/x86/boot.rst: magic, and where the version string is.
	if len(b) < 0x210 || string(b[0x202:0x206]) != "HdrS" {
		return "", fmt.Errorf("%s is not an x86 kernel image (bzImage)", name)
	}
	off := int(binary.LittleEndian.Uint16(b[0x20e:])) + 0x200
	if off >= len(b) {
		return "", fmt.Errorf("%s: version string outside the file", name)
	}
	release, _, _ := bytes.Cut(b[off:], []byte(" "))
	return string(release), nil
}
