package tap

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/vswitch/port/afpacket"
	"github.com/vpclab/vpclab/vswitch/port/tap"
)

const journalFile = "tap.json"

// journal says what of an instance outlives its process: a device that was made, or what was changed on somebody's.
type journal struct {
	dir string

	Instance string  `json:"instance"`
	Device   string  `json:"device"`
	Netns    string  `json:"netns,omitempty"` // path; "" is that of the agent
	Space    spaceID `json:"space"`           // which namespace that was
	Made     int     `json:"made,omitempty"`  // number of the device that was made; 0: none; unknownIndex: being made
}

// unknownIndex: the device is being made, and its number is not known yet.
const unknownIndex = -1

// spaceID tells one network namespace of this boot from all others.
type spaceID struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

const ownSpace = "/proc/thread-self/ns/net"

func idOf(path string) (spaceID, error) {
	if path == "" {
		path = ownSpace
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return spaceID{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return spaceID{Dev: uint64(st.Dev), Ino: st.Ino}, nil
}

// newJournal makes the instance's directory with its journal.
func newJournal(s instances.Spec, space string) (*journal, error) {
	id, err := idOf(space)
	if err != nil {
		return nil, err
	}
	dir, err := instances.MakeDir(s)
	if err != nil {
		return nil, err
	}
	j := &journal{dir: dir, Instance: s.ID, Device: s.TAP.Device, Netns: space, Space: id}
	if err := j.write(); err != nil {
		return nil, errors.Join(err, j.remove())
	}
	return j, nil
}

// made notes that the device is made.
func (j *journal) made(index int) error {
	j.Made = index
	return j.write()
}

func (j *journal) path() string { return filepath.Join(j.dir, journalFile) }

// write writes the journal, whole or not at all.
func (j *journal) write() error {
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	if err := os.WriteFile(j.path()+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(j.path()+".new", j.path())
}

func (j *journal) remove() error {
	for _, name := range []string{j.path() + ".new", j.path(), j.dir} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// undo removes the device, if it was made, or else what was changed on it, and then the journal. A namespace or device
// that is gone, or is another one by now, is left alone.
func (j *journal) undo() error {
	id, err := idOf(j.Netns)
	switch {
	case errors.Is(err, os.ErrNotExist) || err == nil && id != j.Space:
		return j.remove()
	case err != nil:
		return err
	}
	if err := within(j.Netns, j.undoDevice); err != nil {
		return fmt.Errorf("device %q: %w", j.Device, err)
	}
	return j.remove()
}

// undoDevice runs inside the namespace.
func (j *journal) undoDevice() error {
	switch j.Made {
	case 0:
		return afpacket.Restore(j.Device)
	case unknownIndex: // if it is ours, nobody can hold it yet
		if err := tap.Discard(j.Device); !errors.Is(err, tap.ErrNameInUse) {
			return err
		}
		return nil
	}
	link, err := netlink.LinkByName(j.Device)
	switch {
	case errors.As(err, new(netlink.LinkNotFoundError)):
		return nil
	case err != nil:
		return err
	case link.Attrs().Index == j.Made:
		return netlink.LinkDel(link)
	}
	return nil
}

// Cleanup implements instances.Driver.
func (*Driver) Cleanup(runDir string) error {
	return instances.CleanupJournals(runDir, journalFile, cleanup)
}

func cleanup(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	j := &journal{dir: filepath.Dir(path)}
	if err := json.Unmarshal(data, j); err != nil {
		return fmt.Errorf("%s: %w", journalFile, err)
	}
	return j.undo()
}
