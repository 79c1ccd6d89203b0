// Package mirror fetches Debian packages through the machine's own package
// configuration, into folders of its own: apt checks every package against the
// archive's signatures, and nothing of the system changes.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Env names the archive to use when the machine's own configuration names none
// that has the packages, or another is wanted: the URI above dists/.
const Env = "ZCBENCH_MIRROR"

// Release is the Debian release that tools and user land come from.
const Release = "trixie"

// Folders of an Archive for packages; one of them stays empty.
const (
	archives = "cache/archives"
	nothing  = "cache/nothing"
)

// keyrings are where the distributions put the archive's keys.
var keyrings = []string{
	"/usr/share/keyrings/debian-archive-keyring.gpg",
	"/usr/share/keyrings/debian-archive-keyring.pgp",
}

// Archive is a Debian archive with apt's state about it kept under one folder.
type Archive struct {
	dir     string
	keyring string
	log     io.Writer
}

// Open prepares dir for apt's lists and packages. Progress goes to log.
func Open(dir string, log io.Writer) (*Archive, error) {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is missing: the lab is made of Debian packages; install apt and dpkg", tool)
		}
	}
	i := slices.IndexFunc(keyrings, func(p string) bool { _, err := os.Stat(p); return err == nil })
	if i < 0 {
		return nil, fmt.Errorf("no %s: install debian-archive-keyring, whose keys prove the lab's packages", keyrings[0])
	}
	for _, d := range []string{"lists", archives, nothing} {
		if err := os.MkdirAll(filepath.Join(dir, d, "partial"), 0o755); err != nil {
			return nil, err
		}
	}
	return &Archive{dir: dir, keyring: keyrings[i], log: log}, nil
}

// Update reads the package lists of Release, its backports and more suites,
// from the first archive that has them with a good signature.
func (a *Archive) Update(ctx context.Context, more ...string) error {
	uris, err := candidates(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, uri := range uris {
		if err := a.writeSources(uri, more); err != nil {
			return err
		}
		fmt.Fprintf(a.log, "lab: reading the package lists of %s\n", uri)
		if _, err := a.apt(ctx, archives, "apt-get", "-q", "update", "--error-on=any"); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", uri, err))
			continue
		}
		return nil
	}
	return fmt.Errorf("no archive with Debian %s and %s-backports in the package configuration of this machine; name one in %s: %w",
		Release, Release, Env, errors.Join(errs...))
}

// candidates lists the archives worth trying, in the machine's order. apt
// itself reads its configuration, whatever its format.
func candidates(ctx context.Context) ([]string, error) {
	if uri := os.Getenv(Env); uri != "" {
		return []string{uri}, nil
	}
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(COMPONENT) $(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		return nil, fmt.Errorf("read this machine's package sources: %w", err)
	}
	uris := parseTargets(string(out))
	if len(uris) == 0 {
		return nil, fmt.Errorf("this machine has no package sources; name a Debian archive in %s", Env)
	}
	return uris, nil
}

// parseTargets returns the distinct URIs of "component URI" lines. Debian's
// archive has a component main.
func parseTargets(out string) []string {
	var uris []string
	for line := range strings.Lines(out) {
		component, uri, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && component == "main" && !slices.Contains(uris, uri) {
			uris = append(uris, uri)
		}
	}
	return uris
}

func (a *Archive) writeSources(uri string, more []string) error {
	var b strings.Builder
	for _, suite := range append([]string{Release, Release + "-backports"}, more...) {
		fmt.Fprintf(&b, "deb [arch=amd64 signed-by=%s] %s %s main\n", a.keyring, uri, suite)
	}
	return os.WriteFile(filepath.Join(a.dir, "sources.list"), []byte(b.String()), 0o644)
}

// Names lists the packages whose name begins with prefix.
func (a *Archive) Names(ctx context.Context, prefix string) ([]string, error) {
	out, err := a.apt(ctx, archives, "apt-cache", "pkgnames", prefix)
	if err != nil {
		return nil, err
	}
	return strings.Fields(out), nil
}

// Fetch downloads packages, with all that they depend on, and returns the
// files.
func (a *Archive) Fetch(ctx context.Context, names ...string) ([]string, error) {
	return a.get(ctx, append([]string{"install", "-y", "--download-only", "--no-install-recommends"}, names...))
}

// FetchOnly downloads packages without what they depend on.
func (a *Archive) FetchOnly(ctx context.Context, names ...string) ([]string, error) {
	return a.get(ctx, append([]string{"download"}, names...))
}

func (a *Archive) get(ctx context.Context, args []string) ([]string, error) {
	// Asked for addresses, apt names what it would still have to download,
	// so the names come first, from a folder with nothing in it.
	list, err := a.apt(ctx, nothing, "apt-get", append([]string{"-q", "--print-uris"}, args...)...)
	if err != nil {
		return nil, err
	}
	if _, err := a.apt(ctx, archives, "apt-get", append([]string{"-q"}, args...)...); err != nil {
		return nil, err
	}
	names, size := parseURIs(list)
	fmt.Fprintf(a.log, "lab: %d packages, %d MB\n", len(names), size/1e6)
	for i, name := range names {
		names[i] = filepath.Join(a.dir, archives, name)
	}
	return names, nil
}

// parseURIs returns the file names of "'URI' name size hash" lines, and the sum
// of their sizes.
func parseURIs(out string) (names []string, size int) {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasPrefix(f[0], "'") {
			continue
		}
		n, err := strconv.Atoi(f[2])
		if err != nil {
			continue
		}
		names = append(names, f[1])
		size += n
	}
	return names, size
}

// Unpack moves the contents of packages to root; no maintainer script runs.
func Unpack(ctx context.Context, root string, debs []string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for _, deb := range debs {
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, root).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", filepath.Base(deb), err, out)
		}
		if err := os.Remove(deb); err != nil {
			return err
		}
	}
	return nil
}

// apt runs a tool of apt on the private state, with packages in one of its
// folders. What would weaken its checks is switched off here, in case the
// machine's configuration switched it on.
func (a *Archive) apt(ctx context.Context, folder, tool string, args ...string) (string, error) {
	options := []string{
		"Dir::Etc::sourcelist=" + filepath.Join(a.dir, "sources.list"),
		"Dir::Etc::sourceparts=/dev/null",
		"Dir::Etc::preferences=/dev/null",
		"Dir::Etc::preferencesparts=/dev/null",
		"Dir::State::lists=" + filepath.Join(a.dir, "lists"),
		"Dir::State::status=/dev/null",
		"Dir::State::extended_states=/dev/null",
		"Dir::Cache=" + filepath.Join(a.dir, "cache"),
		"Dir::Cache::archives=" + filepath.Base(folder),
		"APT::Architecture=amd64",
		"APT::Default-Release=" + Release,
		"APT::Sandbox::User=root", // _apt may not read the user's cache
		"APT::Get::AllowUnauthenticated=false",
		"Acquire::AllowInsecureRepositories=false",
		"Acquire::AllowDowngradeToInsecureRepositories=false",
		"Acquire::AllowWeakRepositories=false",
		"Acquire::Languages=none",
		"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
		"Acquire::Retries=3",
		"Debug::NoLocking=true",
	}
	argv := []string{}
	for _, o := range options {
		argv = append(argv, "-o", o)
	}
	cmd := exec.CommandContext(ctx, tool, append(argv, args...)...)
	cmd.Dir = filepath.Join(a.dir, folder) // apt-get download goes by this
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var out, errout strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errout
	if err := cmd.Run(); err != nil {
		why := strings.ReplaceAll(strings.TrimSpace(errout.String()), "\n", "; ")
		return "", fmt.Errorf("%s: %w: %s", tool, err, why)
	}
	return out.String(), nil
}
