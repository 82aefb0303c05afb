package instances

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// MakeDir makes the folder of an instance below its RunDir and returns its absolute path. One that is
// there already belongs to an instance that runs, or was not cleaned up after.
func MakeDir(s Spec) (string, error) {
	dir, err := filepath.Abs(filepath.Join(s.RunDir, s.ID))
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o755); errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("%s exists: the instance runs already, or was not cleaned up after", dir)
	} else if err != nil {
		return "", err
	}
	return dir, nil
}

// CleanupJournals calls cleanup with each journal of that name in the folders of instances below runDir.
// It goes through all of them, also after an error.
func CleanupJournals(runDir, name string, cleanup func(path string) error) error {
	journals, err := filepath.Glob(filepath.Join(literal(runDir), "*", name))
	errs := []error{err}
	for _, path := range journals {
		if err := cleanup(path); err != nil {
			errs = append(errs, fmt.Errorf("clean up %s: %w", filepath.Dir(path), err))
		}
	}
	return errors.Join(errs...)
}

// literal makes a directory's name match only itself in filepath.Glob.
func literal(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
