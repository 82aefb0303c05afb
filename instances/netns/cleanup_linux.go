package netns

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/instances"
)

// Cleanup implements instances.Driver.
func (*Driver) Cleanup(runDir string) error {
	return instances.CleanupJournals(runDir, journalFile, cleanup)
}

func cleanup(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f := &files{dir: filepath.Dir(path)}
	if err := json.Unmarshal(data, &f.journal); err != nil {
		return fmt.Errorf("%s: %w", journalFile, err)
	}
	name := f.journal.Namespace
	if f.journal.Helper { // all that it made went with it
		return f.remove()
	}
	if !strings.HasPrefix(name, namespacePrefix) || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%s: %q is no name that this program gives", journalFile, name)
	}
	at := filepath.Join(namespaceDir, name)
	id, err := idOf(at)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil: // the process died between making the file and the mount
		err = removeName(at)
	case ours(at, id, f.journal.ID):
		err = errors.Join(killAll(id), removeName(at))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return f.remove()
}

// ours says whether the namespace that has the name now is the one of the journal: the same, or, when the
// process died before it could write that down, one without eth0, since ours went with the process.
func ours(path string, now, journal spaceID) bool {
	if journal != (spaceID{}) {
		return now == journal
	}
	handle, err := netns.GetFromPath(path)
	if err != nil {
		return false
	}
	defer handle.Close()
	in, err := netlink.NewHandleAt(handle)
	if err != nil {
		return false
	}
	defer in.Close()
	_, err = in.LinkByName(deviceName)
	return errors.As(err, new(netlink.LinkNotFoundError))
}

const killPatience = 5 * time.Second

// killAll kills all processes in the namespace, except this one, and waits until they are gone.
func killAll(id spaceID) error {
	own, err := idOf("/proc/1/ns/net")
	if err == nil && own == id {
		return errors.New("refused to kill the processes of the host's own namespace")
	}
	for deadline := time.Now().Add(killPatience); ; time.Sleep(5 * time.Millisecond) {
		pids, err := members(id)
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			kill(pid, id)
		}
	}
}

// members are the processes in the namespace. A zombie is in none.
func members(id spaceID) ([]int, error) {
	dir, err := os.ReadDir("/proc")
	var pids []int
	for _, entry := range dir {
		pid, perr := strconv.Atoi(entry.Name())
		if perr == nil && pid != os.Getpid() && isIn(pid, id) {
			pids = append(pids, pid)
		}
	}
	return pids, err
}

func isIn(pid int, id spaceID) bool {
	got, err := idOf(fmt.Sprintf("/proc/%d/ns/net", pid))
	return err == nil && got == id
}

// kill holds the process by a descriptor, so that a new one that got its number is not hit.
func kill(pid int, id spaceID) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if isIn(pid, id) {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}
