package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// forceAfter is how long after the first signal another one is taken for the same wish: timeout(1) and some shells
// signal a process and then its whole group.
const forceAfter = time.Second

// untilSignal gives a context that ends with the first SIGINT, SIGTERM or SIGHUP. A later signal ends the process at once,
// should cleaning up hang. SIGPIPE is caught, so that a write to a closed pipe fails like any other and what was made is
// cleared away; programs that exec runs get their default back.
func untilSignal(parent context.Context) context.Context {
	ctx, cancel := context.WithCancel(parent)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	end := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup(1)
		end = append(end, syscall.SIGHUP)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, end...)
	go func() {
		<-signals
		cancel()
		time.Sleep(forceAfter)
		for len(signals) > 0 {
			<-signals
		}
		signal.Stop(signals)
		signal.Reset(end...)
	}()
	return ctx
}

// pollOutput is how often a reader's end is looked for by the poll(2) of a context that may have ended.
const pollOutput = 500 // ms

// whileRead gives a context that ends with parent, or when nobody is left to read out: a closed pipe, a terminal that
// is gone. Anything but a file is read for ever.
func whileRead(parent context.Context, out io.Writer) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	if f, ok := out.(*os.File); ok {
		go func() {
			for ctx.Err() == nil && !unread(int(f.Fd())) {
			}
			cancel()
		}()
	}
	return ctx, cancel
}

// unread waits a while and says whether the far end is closed.
func unread(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd)}} // errors and hang-ups are told in any case
	n, err := unix.Poll(p, pollOutput)
	if err != nil && err != unix.EINTR {
		time.Sleep(pollOutput * time.Millisecond)
	}
	return err == nil && n > 0 && p[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}
