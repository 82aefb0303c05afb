package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/vswitch/port/stream"
)

// Files of an instance, in a directory of its own below the run directory.
const (
	journalFile = "qemu.json"
	outputFile  = "qemu.log"    // what QEMU itself says
	consoleLog  = "console.log" // what the guest says
	consoleSock = "console.sock"
	netSock     = "net.sock"
	qmpSock     = "qmp.sock"
)

var allFiles = []string{outputFile, consoleLog, consoleSock, netSock, qmpSock, journalFile + ".new", journalFile} // the journal last

// journal says which process outlives the one that started it.
type journal struct {
	Instance string `json:"instance"`
	PID      int    `json:"pid"`     // 0 until it runs
	Started  string `json:"started"` // so that another process with that number is not taken for it; see startTime
}

// files are the files of one instance.
type files struct {
	dir     string
	journal journal
}

// newFiles makes an instance's directory, closed to others, with the journal first.
func newFiles(s instances.Spec) (*files, error) {
	if s.ID == "" || s.ID == "." || s.ID == ".." || strings.ContainsAny(s.ID, "/\x00") {
		return nil, fmt.Errorf("instance id %q cannot name a directory", s.ID)
	}
	if s.RunDir == "" {
		return nil, errors.New("no run directory given")
	}
	dir, err := filepath.Abs(filepath.Join(s.RunDir, s.ID))
	if err != nil {
		return nil, err
	}
	if err := stream.CheckPath(filepath.Join(dir, consoleSock)); err != nil {
		return nil, instances.Faultf("%w: QEMU's sockets lie in the data directory (--data-dir)", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s exists: the instance runs already, or was not cleaned up after", dir)
	} else if err != nil {
		return nil, err
	}
	f := &files{dir: dir, journal: journal{Instance: s.ID}}
	if err := f.record(0, ""); err != nil {
		return nil, errors.Join(err, f.remove())
	}
	return f, nil
}

func (f *files) path(name string) string { return filepath.Join(f.dir, name) }

// record writes the journal, whole or not at all.
func (f *files) record(pid int, started string) error {
	f.journal.PID, f.journal.Started = pid, started
	data, err := json.Marshal(f.journal)
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.path(journalFile+".new"), data, 0o600); err != nil {
		return err
	}
	return os.Rename(f.path(journalFile+".new"), f.path(journalFile))
}

// remove deletes what an instance makes, and nothing else.
func (f *files) remove() error {
	for _, name := range allFiles {
		if err := os.Remove(f.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(f.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// tail reads the last lines of a file, or "".
func (f *files) tail(name string) string {
	file, err := os.Open(f.path(name))
	if err != nil {
		return ""
	}
	defer file.Close()
	const most = 4 << 10
	if info, err := file.Stat(); err == nil && info.Size() > most {
		_, _ = file.Seek(-most, 2)
	}
	buf := make([]byte, most)
	n, _ := file.Read(buf)
	return lastLines(buf[:n])
}

// terminal is what a program tells a terminal to do (ECMA-48, control sequences).
var terminal = regexp.MustCompile("\x1b\\[[0-9;?]*[@-~]")

// lastLines joins the last few lines that say something, without what a terminal would act upon.
func lastLines(text []byte) string {
	const most = 3
	var lines []string
	for line := range strings.Lines(strings.ToValidUTF8(terminal.ReplaceAllString(string(text), ""), "?")) {
		line = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return ' '
			}
			return r
		}, line)
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-most):], "; ")
}
