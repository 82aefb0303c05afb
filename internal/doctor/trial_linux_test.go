package doctor

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestTrialsAsRoot: all that root may do works here, or the error says which step did not.
func TestTrialsAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: namespaces without user namespaces")
	}
	for _, trial := range []Trial{TAP, Overlay} {
		if err := Here.Try(trial); err != nil {
			t.Errorf("%s: %v", trial, err)
		}
	}
}

func TestVerdicts(t *testing.T) {
	ended := errors.New("exit status 1")
	for said, want := range map[string]syscall.Errno{"1 set lo up: operation not permitted\n": syscall.EPERM, "22 mount an overlay: invalid argument": syscall.EINVAL} {
		err := verdictOf(said, ended)
		_, text, _ := strings.Cut(strings.TrimSpace(said), " ")
		if !errors.Is(err, want) || err.Error() != text || reason(err) != text {
			t.Errorf("%q: %v", said, err)
		}
	}
	for _, said := range []string{"", "panic: x", "0 fine", "-1 x"} {
		if err := verdictOf(said, ended); !strings.Contains(err.Error(), "exit status 1") {
			t.Errorf("%q: %v", said, err)
		}
	}
}

// TestUnknownTrial: a child that does not know what to do is no success.
func TestUnknownTrial(t *testing.T) {
	if err := Here.Try("levitation"); err == nil {
		t.Error("it worked")
	}
}
