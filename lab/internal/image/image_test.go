package image

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// offered is a list of package names as an archive has them.
var offered = []string{
	"linux-image-6.1.0-50-cloud-amd64", "linux-image-6.1.0-50-cloud-amd64-unsigned", "linux-headers-6.1.0-50-cloud-amd64",
	"linux-image-6.18.9+deb13-cloud-amd64", "linux-image-6.18.15+deb13-cloud-amd64",
	"linux-image-7.2.12+deb13-amd64", "linux-headers-7.2.12+deb13-amd64",
	"linux-image-6.1.0-50-amd64", "linux-image-6.1.0-50-rt-amd64", "linux-image-6.1.0-50-amd64-unsigned", "linux-image-6.1.0-50-amd64-dbg",
	"linux-binary-unsigned-7.3.4+deb13-amd64", "linux-modules-7.3.4+deb13-amd64", "linux-headers-7.3.4+deb13-amd64",
	"linux-binary-unsigned-7.3.5+deb13-rt-amd64", "linux-modules-7.3.5+deb13-rt-amd64", "linux-headers-7.3.5+deb13-rt-amd64",
	"linux-image-amd64", "linux-image-cloud-amd64", "linux-image-rt-amd64",
	"linux-binary-unsigned-7.2.9+deb13-cloud-amd64", "linux-modules-7.2.9+deb13-cloud-amd64", "linux-headers-7.2.9+deb13-cloud-amd64",
	"linux-binary-unsigned-7.2.12+deb13-cloud-amd64", "linux-modules-7.2.12+deb13-cloud-amd64", "linux-image-7.2.12+deb13-cloud-amd64",
	"linux-binary-unsigned-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64", "linux-headers-7.3.4+deb13-cloud-amd64",
	"linux-binary-unsigned-7.10.1+deb13-cloud-amd64", "linux-modules-7.10.1+deb13-cloud-amd64", "linux-headers-7.10.1+deb13-cloud-amd64",
	"linux-source-7.3", "linux-kbuild-7.3.4+deb13",
}

func TestPick(t *testing.T) {
	ks := kernels(offered, cloud)
	if ks[0].release != "7.10.1+deb13-cloud-amd64" || ks[len(ks)-1].release != "6.1.0-50-cloud-amd64" {
		t.Errorf("order from %s to %s", ks[0].release, ks[len(ks)-1].release)
	}
	for _, c := range []struct{ spec, release, packages string }{
		{"", "7.3.4+deb13-cloud-amd64", "linux-binary-unsigned-7.3.4+deb13-cloud-amd64 linux-modules-7.3.4+deb13-cloud-amd64"},
		{"7.3", "7.3.4+deb13-cloud-amd64", "linux-binary-unsigned-7.3.4+deb13-cloud-amd64 linux-modules-7.3.4+deb13-cloud-amd64"},
		{"7.2", "7.2.9+deb13-cloud-amd64", "linux-binary-unsigned-7.2.9+deb13-cloud-amd64 linux-modules-7.2.9+deb13-cloud-amd64"},
		{"7.2.12", "7.2.12+deb13-cloud-amd64", "linux-binary-unsigned-7.2.12+deb13-cloud-amd64 linux-modules-7.2.12+deb13-cloud-amd64"},
		{"6.18", "6.18.15+deb13-cloud-amd64", "linux-image-6.18.15+deb13-cloud-amd64"},
		{"6.1", "6.1.0-50-cloud-amd64", "linux-image-6.1.0-50-cloud-amd64-unsigned"},
		{"7.10.1+deb13-cloud-amd64", "7.10.1+deb13-cloud-amd64", "linux-binary-unsigned-7.10.1+deb13-cloud-amd64 " +
			"linux-modules-7.10.1+deb13-cloud-amd64"},
		{"7", "7.10.1+deb13-cloud-amd64", "linux-binary-unsigned-7.10.1+deb13-cloud-amd64 linux-modules-7.10.1+deb13-cloud-amd64"},
		{"7.1", "", ""},
		{"5.10", "", ""},
	} {
		k, ok := pick(ks, c.spec)
		if ok != (c.release != "") || k.release != c.release || strings.Join(k.image, " ") != c.packages {
			t.Errorf("%q: %+v, want %s of %s", c.spec, k, c.release, c.packages)
		}
	}
	if _, ok := pick(kernels([]string{"linux-binary-unsigned-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64"}, cloud),
		""); ok {
		t.Error("a kernel without headers became the default")
	}
	var releases []string
	for _, k := range kernels(offered, full) {
		releases = append(releases, k.release)
	}
	if got, want := strings.Join(releases, " "), "7.3.4+deb13-amd64 7.2.12+deb13-amd64 6.1.0-50-amd64"; got != want {
		t.Errorf("with the drivers of NICs: %s, want %s", got, want)
	}
}

func TestSealNoticesEveryChange(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"nothing":      nil,
		"a byte":       func(d string) error { return os.WriteFile(filepath.Join(d, "sub/file"), []byte("datA"), 0o644) },
		"a file more":  func(d string) error { return os.WriteFile(filepath.Join(d, "new"), nil, 0o644) },
		"a file less":  func(d string) error { return os.Remove(filepath.Join(d, "sub/file")) },
		"another link": func(d string) error { return relink(filepath.Join(d, "link"), "elsewhere") },
		"a link less":  func(d string) error { return os.Remove(filepath.Join(d, "link")) },
		"everything":   os.RemoveAll,
		"the sums":     func(d string) error { return os.Truncate(d+".sum", 3) },
		"no sums":      func(d string) error { return os.Remove(d + ".sum") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "sealed")
			if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "sub/file"), []byte("data"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("sub/file", filepath.Join(dir, "link")); err != nil {
				t.Fatal(err)
			}
			if err := seal(dir); err != nil {
				t.Fatal(err)
			}
			if change != nil {
				if err := change(dir); err != nil {
					t.Fatal(err)
				}
			}
			if ok, err := verify(dir); err != nil || ok != (change == nil) {
				t.Errorf("verified %v, %v", ok, err)
			}
		})
	}
}

func relink(name, target string) error {
	if err := os.Remove(name); err != nil {
		return err
	}
	return os.Symlink(target, name)
}

// TestArchive has cpio unpack what the kernel would.
func TestArchive(t *testing.T) {
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("needs cpio to read the archive back")
	}
	src := t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "tool"), []byte("odd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("tool", filepath.Join(src, "alias")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	a := NewArchive(&b)
	for _, err := range []error{
		a.File("/etc/a/b", 0o600, []byte("four")),
		a.File("etc/a/b", 0o600, []byte("the second is not taken")),
		a.Tree(src, "usr/bin"),
		a.Dir("empty"),
		a.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	dst := t.TempDir()
	cmd := exec.Command(cpio, "-i", "-d", "-m", "--quiet")
	cmd.Dir, cmd.Stdin = dst, &b
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v: %s", err, out)
	}
	for name, want := range map[string]string{"etc/a/b": "four", "usr/bin/tool": "odd", "usr/bin/alias": "odd"} {
		got, err := os.ReadFile(filepath.Join(dst, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	if target, err := os.Readlink(filepath.Join(dst, "usr/bin/alias")); err != nil || target != "tool" {
		t.Errorf("link to %q, %v", target, err)
	}
	for name, want := range map[string]os.FileMode{"etc/a/b": 0o600, "usr/bin/tool": 0o755, "empty": os.ModeDir | 0o755} {
		info, err := os.Stat(filepath.Join(dst, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, info, err, want)
		}
	}
}

func TestBzImageRelease(t *testing.T) {
	image := make([]byte, 0x400)
	copy(image[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(image[0x20e:], 0x100)
	copy(image[0x300:], "7.4.0-rc1 (me@here) #1 SMP\x00")
	outside := bytes.Clone(image)
	binary.LittleEndian.PutUint16(outside[0x20e:], 0xfff0)
	for _, c := range []struct {
		name  string
		image []byte
		want  string
	}{
		{"whole", image, "7.4.0-rc1"},
		{"short", image[:0x20f], ""},
		{"another file", make([]byte, 0x400), ""},
		{"string outside", outside, ""},
	} {
		name := filepath.Join(t.TempDir(), "bzImage")
		if err := os.WriteFile(name, c.image, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := bzImageRelease(name)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}
