package doctor

import (
	"io/fs"
	"os"
	"os/exec"
	"runtime"

	"github.com/vpclab/vpclab/api/agent"
)

// Here is the machine this program runs on. ChildMain must be the first thing that the program's main does.
var Here System = here{}

type here struct{}

func (here) OS() string                { return runtime.GOOS }
func (here) Arch() string              { return runtime.GOARCH }
func (here) UID() int                  { return os.Geteuid() }
func (here) Getenv(name string) string { return os.Getenv(name) }

func (here) ReadFile(path string) (string, error) {
	raw, err := os.ReadFile(path)
	return string(raw), err
}

func (here) Mode(path string) (fs.FileMode, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Mode(), nil
}

func (here) Open(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func (here) LookPath(program string) (string, error) { return exec.LookPath(program) }

func (here) Socket(dataDir string) (agent.Placement, error) { return agent.TrySocket(dataDir) }
