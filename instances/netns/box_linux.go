package netns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/vpclab/vpclab/instances/netns/sandbox"
)

// box is the sandbox in which the commands of Spec.Run run, and what became of them.
type box struct {
	output string // path
	stop   context.CancelFunc
	ended  chan struct{} // closed when nothing runs in it any more

	mu    sync.Mutex
	exits []*int // by command; nil for one that runs
	err   error  // why the sandbox ended, if not by itself
}

// startBox starts the commands, if there are any, and returns when they run.
func (in *instance) startBox(ctx context.Context, overlay string) error {
	if len(in.spec.Run) == 0 {
		return nil
	}
	if !childReady {
		return errors.New("this program cannot run programs in instances: its main does not call netns.ChildMain")
	}
	output, err := os.OpenFile(in.files.path(outputFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	status, far, err := os.Pipe()
	if err != nil {
		output.Close()
		return err
	}
	boxCtx, stop := context.WithCancel(context.Background())
	in.box = &box{output: output.Name(), stop: stop, ended: make(chan struct{}), exits: make([]*int, len(in.spec.Run))}
	i := in.enterInfo()
	task := sandbox.Task{Commands: in.spec.Run, Hostname: i.Hostname, Hosts: i.Hosts, ResolvConf: i.ResolvConf, Nsswitch: i.Nsswitch, Overlay: overlay}
	in.runs.Go(func() {
		defer close(in.box.ended)
		err := in.space.sandbox(boxCtx, task, output, far)
		in.box.failed(err)
		output.Close()
		far.Close()
	})
	defer context.AfterFunc(ctx, stop)()
	events := sandbox.NewEvents(status)
	if err := events.Await(); err != nil {
		stop()
		<-in.box.ended
		status.Close()
		return errors.Join(fmt.Errorf("run: %w; the commands are not run without a sandbox", err), ctx.Err())
	}
	in.runs.Go(func() {
		in.box.follow(events)
		status.Close()
	})
	return nil
}

// failed notes an end that was not the sandbox's own.
func (b *box) failed(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *box) follow(events *sandbox.Events) {
	for {
		ev, err := events.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			b.failed(err)
			return
		}
		b.mu.Lock()
		if ev.Failure != "" {
			b.err = errors.New(ev.Failure)
		} else if ev.Exit != nil && ev.Command >= 0 && ev.Command < len(b.exits) {
			b.exits[ev.Command] = ev.Exit
		}
		b.mu.Unlock()
	}
}

// into tells people what became of the commands.
func (b *box) into(info map[string]string) {
	info["run output"] = b.output
	b.mu.Lock()
	defer b.mu.Unlock()
	words := make([]string, len(b.exits))
	for i, code := range b.exits {
		words[i] = "running"
		if code != nil {
			words[i] = fmt.Sprintf("ended with exit code %d", *code)
		}
		if len(b.exits) > 1 {
			words[i] = fmt.Sprintf("%d %s", i+1, words[i])
		}
	}
	if b.err != nil {
		words = append(words, b.err.Error())
	}
	info["run"] = strings.Join(words, ", ")
}
