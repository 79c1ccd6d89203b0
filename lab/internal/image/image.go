// Package image prepares what the lab's VM boots: a distribution's kernel, the
// zcnic module built for it, and an initramfs with a small user land. All of it
// lives in a cache, whose contents are checked against their hashes before use.
package image

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"zcbench/lab/internal/mirror"
	"zcbench/lab/internal/wire"
)

// ErrUnavailable says that this machine cannot have the lab, or not now; the
// error around it says what is missing.
var ErrUnavailable = errors.New("the lab cannot be prepared on this machine")

// Image is what to boot.
type Image struct {
	Release   string // as uname -r says it
	Kernel    string // a bzImage
	Initramfs string // user land and modules
	Module    string // zcnic.ko; "" when the kernel has no headers to build it with
	QEMU      QEMU
}

// QEMU is an emulator that is not installed: how to start it, and what to add
// to its environment.
type QEMU struct{ Argv, Env []string }

// Store is the cache.
type Store struct {
	Dir    string
	Module string // the module's sources
	Log    io.Writer

	pkgs *mirror.Archive // once it was needed
}

// Open returns the user's cache, for the module whose sources are at module.
func Open(module string, log io.Writer) (*Store, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find the cache folder: %w", err)
	}
	dir := filepath.Join(base, "zcbench", "lab")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return &Store{Dir: dir, Module: module, Log: log}, nil
}

// toolPackages are the compiler that the kernels' headers want and the user
// land of the guest.
var toolPackages = []string{
	"base-files", "bash", "binutils", "busybox-static", "coreutils", "dash", "ethtool", "findutils", "gcc-14",
	"grep", "iproute2", "make", "mawk", "pahole", "sed",
}

// qemuPackages are the emulator. It is the archive's, not the machine's: that
// needs no root, and before 8.1 QEMU could run code that the guest had just
// patched as it was before (the guest then dies of int3).
var qemuPackages = []string{"qemu-system-x86"}

// guestTools are the programs of toolPackages that the guest gets beside
// busybox, whose own shell would take its own ip for ip.
var guestTools = []string{"bash", "dash", "ethtool", "ip", "ss", "tc"}

// Want says which image is needed.
type Want struct {
	// Kernel is "" for the newest one the module is known to build for, a
	// version or the beginning of one, or the path of a bzImage in its build
	// tree.
	Kernel string
	// Drivers asks for those of NICs that are made, which the kernel for
	// virtual machines lacks.
	Drivers bool
	// Module asks for zcnic.
	Module bool
}

// Prepare returns an image. What the cache has it does not fetch again.
func (s *Store) Prepare(ctx context.Context, w Want) (Image, error) {
	unlock, err := s.lock()
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	if strings.Contains(w.Kernel, "/") {
		return s.prepareTree(ctx, w)
	}
	f := cloud
	if w.Drivers {
		f = full
	}
	release, err := s.resolve(ctx, w.Kernel, f)
	if err != nil {
		return Image{}, err
	}
	qemu, err := s.qemu(ctx)
	if err != nil {
		return Image{}, err
	}
	boot := s.path("boot-" + release)
	if err := s.ensure(boot, func(tmp string) error { return s.makeBoot(ctx, tmp, release, f) }); err != nil {
		return Image{}, err
	}
	img := Image{Release: release, Kernel: filepath.Join(boot, "vmlinuz"), Initramfs: filepath.Join(boot, "initramfs.cpio"), QEMU: qemu}
	if _, err := os.Stat(filepath.Join(boot, hasHeaders)); err != nil || !w.Module {
		return img, nil
	}
	key, err := s.moduleKey()
	if err != nil {
		return Image{}, err
	}
	mod := s.path("zcnic-" + release + "-" + key)
	img.Module = filepath.Join(mod, "zcnic.ko")
	return img, s.ensure(mod, func(tmp string) error { return s.makeModule(ctx, tmp, release, f) })
}

// lock waits until no other process prepares something in the cache.
func (s *Store) lock() (unlock func() error, err error) {
	f, err := os.Create(s.path("lock"))
	if err != nil {
		return nil, err
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		return f.Close, nil
	}
	fmt.Fprintln(s.Log, "lab: waiting for another one that is being prepared")
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return f.Close, nil
		}
		if err != unix.EINTR {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
	}
}

func (s *Store) path(name string) string { return filepath.Join(s.Dir, name) }

// ensure has dir be there and whole, with makeIn filling a new folder if not.
func (s *Store) ensure(dir string, makeIn func(tmp string) error) error {
	ok, err := verify(dir)
	if err != nil || ok {
		return err
	}
	if _, err := os.Stat(dir); err == nil {
		fmt.Fprintf(s.Log, "lab: %s does not match its hashes; making it again\n", dir)
	}
	tmp := dir + ".tmp"
	for _, p := range []string{dir, dir + ".sum", tmp} {
		if err := os.RemoveAll(p); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return err
	}
	if err := makeIn(tmp); err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return seal(dir)
}

// packages returns a folder with packages unpacked.
func (s *Store) packages(ctx context.Context, name string, packages []string) (string, error) {
	sum := sha256.Sum256([]byte(strings.Join(packages, " ")))
	dir := s.path(fmt.Sprintf("%s-%s-%x", name, mirror.Release, sum[:4]))
	return dir, s.ensure(dir, func(tmp string) error {
		a, err := s.archive(ctx)
		if err != nil {
			return err
		}
		debs, err := a.Fetch(ctx, packages...)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if err := mirror.Unpack(ctx, tmp, debs); err != nil {
			return err
		}
		for _, d := range []string{"usr/share/doc", "usr/share/man", "usr/share/locale", "var"} {
			if err := os.RemoveAll(filepath.Join(tmp, d)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) tools(ctx context.Context) (string, error) {
	return s.packages(ctx, "tools", toolPackages)
}

// qemu returns the emulator, started by the loader and with the libraries that
// it was built for.
func (s *Store) qemu(ctx context.Context) (QEMU, error) {
	dir, err := s.packages(ctx, "qemu", qemuPackages)
	if err != nil {
		return QEMU{}, err
	}
	in := func(p string) string { return filepath.Join(dir, p) }
	libs := in("usr/lib/x86_64-linux-gnu")
	return QEMU{
		Argv: []string{in("usr/lib64/ld-linux-x86-64.so.2"), "--library-path", libs, in("usr/bin/qemu-system-x86_64"),
			"-L", in("usr/share/qemu"), "-L", in("usr/share/seabios")},
		Env: []string{"QEMU_MODULE_DIR=" + filepath.Join(libs, "qemu")},
	}, nil
}

// hasHeaders is a file in a boot folder whose kernel the module can be built
// for.
const hasHeaders = "has-headers"

// makeBoot fills dir with the kernel's image and its initramfs.
func (s *Store) makeBoot(ctx context.Context, dir, release string, f flavour) error {
	tools, err := s.tools(ctx)
	if err != nil {
		return err
	}
	a, err := s.archive(ctx)
	if err != nil {
		return err
	}
	k, err := s.find(ctx, a, release, f)
	if err != nil {
		return err
	}
	root := filepath.Join(dir, "root")
	// What the packages depend on serves to install them.
	debs, err := a.FetchOnly(ctx, k.image...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := mirror.Unpack(ctx, root, debs); err != nil {
		return err
	}
	vmlinuz, err := firstOf(
		filepath.Join(root, "usr/lib/modules", release, "vmlinuz.unsigned"),
		filepath.Join(root, "usr/lib/modules", release, "vmlinuz"),
		filepath.Join(root, "boot/vmlinuz-"+release))
	if err != nil {
		return err
	}
	if err := os.Rename(vmlinuz, filepath.Join(dir, "vmlinuz")); err != nil {
		return err
	}
	modules, err := firstOf(filepath.Join(root, "usr/lib/modules", release), filepath.Join(root, "lib/modules", release))
	if err != nil {
		return err
	}
	if err := makeInitramfs(ctx, filepath.Join(dir, "initramfs.cpio"), tools, modules, release); err != nil {
		return err
	}
	if k.headers && compareReleases(release, Lines[len(Lines)-1]) >= 0 {
		if err := os.WriteFile(filepath.Join(dir, hasHeaders), nil, 0o644); err != nil {
			return err
		}
	}
	return os.RemoveAll(root)
}

func firstOf(names ...string) (string, error) {
	for _, n := range names {
		if _, err := os.Stat(n); err == nil {
			return n, nil
		}
	}
	return "", fmt.Errorf("the kernel's packages have none of %s", strings.Join(names, ", "))
}

// makeInitramfs writes the guest's user land and the kernel's modules. modules
// may be "" for a kernel that has all it needs built in.
func makeInitramfs(ctx context.Context, name, tools, modules, release string) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	a := NewArchive(f)

	for _, d := range []string{"dev", "proc", "sys", "tmp", "run", "root", "etc", "lab", "var", "usr/bin", "usr/sbin", "usr/lib",
		"usr/lib64"} {
		if err := a.Dir(d); err != nil {
			return err
		}
	}
	for _, l := range [][2]string{{"bin", "usr/bin"}, {"sbin", "usr/sbin"}, {"lib", "usr/lib"}, {"lib64", "usr/lib64"},
		{"etc/mtab", "/proc/mounts"}, {"var/run", "/run"}} {
		if err := a.Link(l[0], l[1]); err != nil {
			return err
		}
	}
	for n, text := range map[string]string{
		"etc/passwd":   "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"etc/group":    "root:x:0:\nnogroup:x:65534:\n",
		"etc/hosts":    "127.0.0.1 localhost\n::1 localhost\n",
		"etc/hostname": "lab\n",
	} {
		if err := a.File(n, 0o644, []byte(text)); err != nil {
			return err
		}
	}
	if err := addGuestTools(a, tools); err != nil {
		return err
	}
	if err := addBusybox(ctx, a, tools); err != nil {
		return err
	}
	if modules != "" {
		if err := addModules(ctx, a, tools, modules, release); err != nil {
			return err
		}
	}
	return a.Close()
}

// addGuestTools adds guestTools with the libraries they are linked with.
func addGuestTools(a *Archive, tools string) error {
	libdirs := []string{"usr/lib/x86_64-linux-gnu", "usr/lib64", "usr/lib"}
	done := map[string]bool{}
	var add func(rel string) error
	add = func(rel string) error {
		if done[rel] {
			return nil
		}
		done[rel] = true
		data, err := readIn(tools, rel)
		if err != nil {
			return err
		}
		if err := a.File(rel, 0o755, data); err != nil {
			return err
		}
		libs, err := needed(filepath.Join(tools, rel), data)
		if err != nil {
			return err
		}
		for _, lib := range libs {
			i := slices.IndexFunc(libdirs, func(d string) bool { _, err := readIn(tools, filepath.Join(d, lib)); return err == nil })
			if i < 0 {
				return fmt.Errorf("%s needs %s, which no package brought", rel, lib)
			}
			if err := add(filepath.Join(libdirs[i], lib)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, t := range guestTools {
		p, err := firstOf(filepath.Join(tools, "usr/bin", t), filepath.Join(tools, "usr/sbin", t))
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(tools, p)
		if err != nil {
			return err
		}
		if err := add(rel); err != nil {
			return err
		}
	}
	return add("usr/lib64/ld-linux-x86-64.so.2")
}

// readIn reads a file below root; links, even absolute ones, stay below it.
func readIn(root, rel string) ([]byte, error) {
	for range 8 {
		p := filepath.Join(root, rel)
		target, err := os.Readlink(p)
		if err != nil {
			return os.ReadFile(p)
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir("/"+rel), target)
		}
		rel = target
	}
	return nil, fmt.Errorf("%s: too many links", rel)
}

// needed lists the libraries an ELF file names.
func needed(name string, data []byte) ([]string, error) {
	f, err := elf.NewFile(strings.NewReader(string(data)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	return f.ImportedLibraries()
}

// addBusybox adds busybox and a link for each of its commands that has no
// program of its own.
func addBusybox(ctx context.Context, a *Archive, tools string) error {
	busybox := filepath.Join(tools, "usr/bin/busybox")
	if err := a.Tree(busybox, "usr/bin/busybox"); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("list the commands of busybox: %w", err)
	}
	for _, cmd := range strings.Fields(string(out)) {
		if slices.Contains(guestTools, cmd) || cmd == "busybox" || cmd == "sh" {
			continue
		}
		if err := a.Link("usr/bin/"+cmd, "busybox"); err != nil {
			return err
		}
	}
	if err := a.Link("usr/bin/sh", "dash"); err != nil {
		return err
	}
	// The kernel loads modules by this name.
	return a.Link("usr/sbin/modprobe", "../bin/busybox")
}

// addModules adds all modules of a kernel and the index that modprobe reads.
func addModules(ctx context.Context, a *Archive, tools, modules, release string) error {
	base, err := os.MkdirTemp(filepath.Dir(modules), "depmod")
	if err != nil {
		return err
	}
	defer os.RemoveAll(base)
	link := filepath.Join(base, "lib/modules", release)
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(modules, link); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(tools, "usr/bin/busybox"), "depmod", "-b", base, release)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("index the modules of %s: %w: %s", release, err, out)
	}
	for _, n := range []string{"kernel", "modules.dep", "modules.alias", "modules.symbols", "modules.builtin", "modules.order"} {
		src := filepath.Join(modules, n)
		if _, err := os.Stat(src); err != nil {
			continue
		}
		if err := a.Tree(src, filepath.Join("usr/lib/modules", release, n)); err != nil {
			return err
		}
	}
	return nil
}

// moduleKey names the state of the module's sources.
func (s *Store) moduleKey() (string, error) {
	sum, err := sums(s.Module)
	if err != nil {
		return "", fmt.Errorf("read the module's sources: %w", err)
	}
	h := sha256.Sum256(sum)
	return fmt.Sprintf("%x", h[:8]), nil
}

// makeModule builds the module in dir with the distribution's own compiler, in
// a root made of the cached tools and the kernel's headers.
func (s *Store) makeModule(ctx context.Context, dir, release string, f flavour) error {
	tools, err := s.tools(ctx)
	if err != nil {
		return err
	}
	headers := s.path("headers-" + release)
	if err := s.ensure(headers, func(tmp string) error {
		a, err := s.archive(ctx)
		if err != nil {
			return err
		}
		// The compiler that they depend on is in tools.
		version := strings.TrimSuffix(release, "-"+string(f))
		debs, err := a.FetchOnly(ctx, "linux-headers-"+release, "linux-headers-"+version+"-common", "linux-kbuild-"+version)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return mirror.Unpack(ctx, tmp, debs)
	}); err != nil {
		return err
	}
	fmt.Fprintf(s.Log, "lab: building zcnic.ko for %s\n", release)
	if err := copySources(s.Module, dir); err != nil {
		return err
	}
	script, err := buildScript(s.path("root"), tools, headers, dir, release)
	if err != nil {
		return err
	}
	if err := unshare(ctx, "mount -t tmpfs lab "+quote(s.path("root"))); err != nil {
		return fmt.Errorf("%w: the module is built in a mount namespace, which needs root or unprivileged user namespaces: %w", ErrUnavailable,
			err)
	}
	if err := unshare(ctx, script); err != nil {
		return fmt.Errorf("build zcnic.ko for %s: %w", release, err)
	}
	return keepOnly(dir, "zcnic.ko")
}

// unshare runs a shell script that may mount as it likes.
func unshare(ctx context.Context, script string) error {
	args := []string{"--mount", "sh", "-c", script}
	if os.Geteuid() != 0 {
		args = append([]string{"--user", "--map-root-user"}, args...)
	}
	cmd := exec.CommandContext(ctx, "unshare", args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/"}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// buildScript returns the shell script that builds the module in dir, in a
// mount namespace of its own. Its root is empty but for what is bound into it.
func buildScript(root, tools, headers, dir, release string) (string, error) {
	binds := [][2]string{
		{filepath.Join(tools, "usr"), "usr"},
		{filepath.Join(headers, "usr/src"), "usr/src"},
		{filepath.Join(headers, "usr/lib/modules"), "usr/lib/modules"},
		{dir, "mnt"}, {"/dev", "dev"}, {"/proc", "proc"},
	}
	kbuild, err := filepath.Glob(filepath.Join(headers, "usr/lib/linux-kbuild-*"))
	if err != nil {
		return "", err
	}
	for _, k := range kbuild {
		binds = append(binds, [2]string{k, "usr/lib/" + filepath.Base(k)})
	}
	// Places in tools to bind to; empty folders do not count in its hashes.
	for _, b := range binds {
		if rel, ok := strings.CutPrefix(b[1], "usr/"); ok {
			if err := os.MkdirAll(filepath.Join(tools, "usr", rel), 0o755); err != nil {
				return "", err
			}
		}
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "set -e\nmount -t tmpfs lab %s\ncd %[1]s\nmkdir usr tmp mnt dev proc\n", quote(root))
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		fmt.Fprintf(&b, "ln -s usr/%s %[1]s\n", d)
	}
	for _, m := range binds {
		fmt.Fprintf(&b, "mount --rbind %s %s\n", quote(m[0]), m[1])
	}
	// Kbuild calls awk; the link is made by a maintainer script otherwise.
	fmt.Fprintf(&b, "exec chroot . make -s -j2 -C /usr/lib/modules/%s/build M=/mnt CC=gcc-14 AWK=mawk modules\n", release)
	return b.String(), nil
}

// copySources copies the files of a flat source folder.
func copySources(src, dst string) error {
	entries, err := os.ReadDir(src)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(src, e.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dst, e.Name()), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// keepOnly removes everything of dir but one file.
func keepOnly(dir, name string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == name {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	_, err = os.Stat(filepath.Join(dir, name))
	return err
}

func run(ctx context.Context, argv ...string) error {
	if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", argv[0], err, out)
	}
	return nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Overlay is what one run adds to the guest, written after the initramfs.
type Overlay struct {
	Init   string            // the guest's init program
	Module string            // zcnic.ko, or ""
	Job    wire.Job          // what it runs
	Add    map[string]string // path in the guest: file or folder here
}

// WriteTo writes the overlay as one more archive.
func (o Overlay) Write(w io.Writer) error {
	a := NewArchive(w)
	job, err := o.Job.Encode()
	if err != nil {
		return err
	}
	if err := a.File(wire.JobPath, 0o644, job); err != nil {
		return err
	}
	if err := a.Tree(o.Init, "init"); err != nil {
		return err
	}
	if o.Module != "" {
		if err := a.Tree(o.Module, wire.Module); err != nil {
			return err
		}
	}
	for to, from := range o.Add {
		if err := a.Tree(from, to); err != nil {
			return fmt.Errorf("add %s to the guest: %w", from, err)
		}
	}
	return a.Close()
}
