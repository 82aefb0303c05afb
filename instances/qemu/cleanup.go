package qemu

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/vpclab/vpclab/instances"
)

const killPatience = 5 * time.Second

// Cleanup implements instances.Driver.
func (*Driver) Cleanup(runDir string) error {
	return instances.CleanupJournals(runDir, journalFile, cleanup)
}

func cleanup(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return err
	}
	f := &files{dir: dir}
	if err := json.Unmarshal(data, &f.journal); err != nil {
		return fmt.Errorf("%s: %w", journalFile, err)
	}
	if err := end(f); err != nil {
		return err
	}
	return f.remove()
}

// end kills the QEMU of a journal and waits until it is gone. Where the agent died before it could write the number down,
// QEMU is known by its monitor's socket, which lies in the instance's own directory.
func end(f *files) error {
	who := process{f.journal.PID, f.journal.Started}
	if who.pid == 0 {
		found, ok := findProcess(value(f.path(qmpSock)))
		if !ok {
			return nil
		}
		who = found
	}
	if err := who.end(); err != nil {
		return fmt.Errorf("QEMU (process %d): %w", who.pid, err)
	}
	return nil
}

var errStays = fmt.Errorf("it was killed and does not end in %v", killPatience)

// process is one process of this machine, and no other that may get its number later.
type process struct {
	pid     int
	started string // see startTime
}

// lives says whether the process still runs.
func (p process) lives() bool {
	if p.pid <= 1 || p.started == "" {
		return false
	}
	now, err := startTime(p.pid)
	return err == nil && now == p.started
}
