package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/vpclab/vpclab/api/agent"
)

// drainTerminal is how long the last output may take once the program has ended.
const drainTerminal = time.Second

// execTerminal gives the program a terminal of its own, so that it can be its controlling one (this process's belongs to this
// process's session), and copies between the two, this one being raw meanwhile: Ctrl-C is for the program's terminal.
func execTerminal(ctx context.Context, c *agent.Client, r *agent.ExecRequest, in, out *os.File, signals <-chan os.Signal) (int, error) {
	near, far, err := openTerminal(int(in.Fd()))
	if err != nil {
		return 0, err
	}
	defer near.Close()
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		far.Close()
		return 0, err
	}
	defer term.Restore(int(in.Fd()), before)
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	go func() {
		for range resized {
			_ = resize(near, int(in.Fd()))
		}
	}()
	defer close(resized)
	defer signal.Stop(resized)
	go io.Copy(near, in) // a read that is under way at the end goes with this process
	shown := make(chan struct{})
	go func() { defer close(shown); io.Copy(out, near) }()
	code, err := c.ExecFiles(ctx, r, [3]*os.File{far, far, far}, signals)
	far.Close()
	_ = near.SetReadDeadline(time.Now().Add(drainTerminal)) // a program left in the background may hold it open
	<-shown
	return code, err
}

// openTerminal makes a pair of ends (pty(7)) with the settings and the size of another terminal.
func openTerminal(like int) (near, far *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a terminal: %w", err)
	}
	near = os.NewFile(uintptr(fd), "/dev/ptmx")
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		near.Close()
		return nil, nil, fmt.Errorf("make a terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		far, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		near.Close()
		return nil, nil, fmt.Errorf("make a terminal: %w", err)
	}
	if t, err := unix.IoctlGetTermios(like, unix.TCGETS); err == nil {
		_ = unix.IoctlSetTermios(int(far.Fd()), unix.TCSETS, t)
	}
	_ = resize(near, like)
	return near, far, nil
}

func resize(near *os.File, like int) error {
	size, err := unix.IoctlGetWinsize(like, unix.TIOCGWINSZ)
	if err != nil {
		return err
	}
	raw, err := near.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, size) })
	if cerr != nil {
		return cerr
	}
	return err
}
