package netns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/netns/sandbox"
	"github.com/vpclab/vpclab/vswitch/port/tap"
)

// spaces makes network namespaces. There are two: direct makes them in this process, which must be root for it; helped has
// them made by a helper process, which is root only in a user namespace of its own.
type spaces interface {
	// check gives nil if instances can be started; else why not, and what would mend it.
	check() error
	// create makes a namespace with nothing but lo in it.
	create(ctx context.Context, s instances.Spec) (space, error)
}

// space is the network namespace of one instance. Its methods are safe for concurrent use.
type space interface {
	identity() spaceID
	// path is where processes of the same user find the namespace.
	path() string
	// plug makes eth0, configures it and gives its port and its number.
	plug(s instances.Spec) (port *tap.Port, zone string, err error)
	// socket makes a socket that belongs to the namespace. It is neither bound nor connected, and does not block.
	socket(domain, kind, protocol int) (*os.File, error)
	// exec runs a program of the host.
	exec(ctx context.Context, task childTask, stdio instances.IO) (exit int, err error)
	// sandbox runs commands in a sandbox until they and what they started have ended, or ctx has: then they are killed.
	sandbox(ctx context.Context, task sandbox.Task, output, status *os.File) error
	// end kills all processes in the namespace and waits for that.
	end() error
	// remove takes the namespace away. It is idempotent.
	remove() error
	// lost is closed when the namespace can be used no more; nil if that cannot be. why then says so.
	lost() <-chan struct{}
	why() error
}

// ways is how a driver makes namespaces.
type ways struct {
	mu      sync.Mutex
	helped  *helped
	only    Way    // "" means the best that works; else for tests
	overlay string // see sandbox.Task; for tests
}

// Way is how the namespaces of netns instances are made.
type Way string

// Ways.
const (
	ByRoot   Way = "root"   // by this process, which is root
	ByHelper Way = byHelper // by a helper process in a user namespace
)

// Way says which way works here and now. Root's is preferred: its namespaces have names, which other tools see.
// An error says of each why not, and what would mend it.
func (d *Driver) Way() (Way, error) {
	way, _, err := d.choose()
	return way, err
}

// Explain is Way in a line for people, such as "root", or "helper (a process in a user namespace; no root needed)".
func (d *Driver) Explain() (string, error) {
	way, err := d.Way()
	switch {
	case err != nil:
		return "", err
	case way == ByRoot:
		return "root", nil
	}
	return "helper (without root: a process in a user namespace makes TAPs and network namespaces)", nil
}

func (d *Driver) choose() (Way, spaces, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.helped == nil {
		d.helped = newHelped()
	}
	var errs []error
	for _, way := range []struct {
		Way
		spaces
	}{{ByRoot, direct{}}, {ByHelper, d.helped}} {
		if d.only != "" && d.only != way.Way {
			continue
		}
		err := way.check()
		if err == nil {
			return way.Way, way.spaces, nil
		}
		errs = append(errs, fmt.Errorf("as %s: %w", way.Way, err))
	}
	return "", nil, refused(errs)
}

// refused joins why no way works in one line.
func refused(errs []error) error {
	if len(errs) == 2 {
		return fmt.Errorf("%w; %w", errs[0], errs[1])
	}
	return errors.Join(errs...)
}

// Available implements instances.Driver by trying what Start needs.
func (d *Driver) Available() error {
	_, _, err := d.choose()
	return err
}

// direct is spaces in this process.
type direct struct{}

func (direct) check() error {
	err := onThread(func() error { return unix.Unshare(unix.CLONE_NEWNET) })
	if err != nil {
		return fmt.Errorf("make a network namespace: %w; run as root (in a container: with CAP_SYS_ADMIN and CAP_NET_ADMIN), or use instances of kind netstack", err)
	}
	return tap.Available()
}

func (direct) create(_ context.Context, s instances.Spec) (space, error) {
	made, err := createNamed(namespaceName(s.ID))
	if err != nil {
		return nil, err // no space at all, rather than one that is nil inside
	}
	return made, nil
}

// sandbox implements space.
func (s *named) sandbox(ctx context.Context, task sandbox.Task, output, status *os.File) error {
	network, err := s.file()
	if err != nil {
		return err
	}
	defer network.Close()
	runtime.LockOSThread() // Pdeathsig is about the thread that started the child
	defer runtime.UnlockOSThread()
	stdin, err := sandbox.TaskFile(task)
	if err != nil {
		return err
	}
	defer stdin.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args, cmd.Env = []string{sandbox.Arg0}, []string{}
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = "/", stdin, output, output, []*os.File{status, network}
	cmd.SysProcAttr = sandbox.Attr()
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	err = cmd.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (s *named) identity() spaceID     { return s.id }
func (s *named) path() string          { return s.at }
func (s *named) end() error            { return killAll(s.id) }
func (s *named) lost() <-chan struct{} { return nil }
func (s *named) why() error            { return nil }
