//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var (
	program string // vpclab
	home    string // a directory that everybody may read, with examples/ in it: where commands run
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == helperWord {
		os.Exit(helper(os.Args[2], os.Args[3:]))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vpclab-e2e-")
	if err == nil {
		defer os.RemoveAll(dir)
		home, program = dir, filepath.Join(dir, "vpclab")
		err = prepare()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return m.Run()
}

// prepare builds the program and puts the examples beside it.
func prepare() error {
	if err := os.Chmod(home, 0o755); err != nil {
		return err
	}
	args := []string{"build", "-buildvcs=false", "-o", program} // whoever the clone belongs to
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "../cmd/vpclab")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	return os.CopyFS(filepath.Join(home, "examples"), os.DirFS("../examples"))
}

// needsRoot skips a test of netns instances where they cannot be made.
func needsRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: netns instances are made of network namespaces and TAPs")
	}
}

// needsProgram skips a test whose program is not installed. .ci/run installs them all and wants no test skipped.
func needsProgram(t testing.TB, name, debian string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("needs %s (Debian's package is %s): %v", name, debian, err)
	}
}
