package instances

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMakeDir: a folder belongs to one instance.
func TestMakeDir(t *testing.T) {
	s := Spec{ID: "i-1", RunDir: filepath.Join(t.TempDir(), "run")}
	dir, err := MakeDir(s)
	if err != nil || dir != filepath.Join(s.RunDir, "i-1") {
		t.Fatalf("%q, %v", dir, err)
	}
	if _, err := MakeDir(s); err == nil || !strings.Contains(err.Error(), "was not cleaned up after") {
		t.Errorf("made twice: %v", err)
	}
}

// TestCleanupJournals goes on after an error, also below a directory whose name is a pattern.
func TestCleanupJournals(t *testing.T) {
	run := filepath.Join(t.TempDir(), "a[b]*?")
	for _, id := range []string{"i-1", "i-2"} {
		if err := os.MkdirAll(filepath.Join(run, id), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(run, id, "j.json"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	seen, bad := 0, errors.New("bad")
	err := CleanupJournals(run, "j.json", func(string) error { seen++; return bad })
	if seen != 2 || !errors.Is(err, bad) || !strings.Contains(err.Error(), "i-1") || !strings.Contains(err.Error(), "i-2") {
		t.Errorf("%d journals, %v", seen, err)
	}
}
