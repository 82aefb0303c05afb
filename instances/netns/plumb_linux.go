package netns

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/vpclab/vpclab/instances"
	"github.com/vpclab/vpclab/instances/netns/helper"
)

// plumbing is what connects a program that another process starts with what this one gave it to read and write.
type plumbing struct {
	far    []*os.File // for the program: standard input, output and error, and the status pipe
	made   []*os.File // of far, those made here
	near   []*os.File // our ends of pipes
	status *os.File
	copied []chan struct{} // closed when a copy of output has ended
}

// plumb makes a pipe for all that is no file.
func plumb(stdio instances.IO) (*plumbing, error) {
	p := new(plumbing)
	err := p.input(stdio.Stdin)
	if err == nil {
		err = p.output(stdio.Stdout)
	}
	switch {
	case err != nil:
	case same(stdio.Stdout, stdio.Stderr): // one writer is not written to from two sides
		p.far = append(p.far, p.far[len(p.far)-1])
	default:
		err = p.output(stdio.Stderr)
	}
	if err == nil {
		var far *os.File
		if p.status, far, err = os.Pipe(); err == nil {
			p.add(far)
			p.near = append(p.near, p.status)
		}
	}
	if err != nil {
		helper.CloseAll(p.made)
		helper.CloseAll(p.near)
		return nil, err
	}
	return p, nil
}

// same compares writers; those that cannot be compared are different.
func same(a, b io.Writer) (equal bool) {
	defer func() { _ = recover() }()
	return a == b
}

// add gives the program a file that is ours to close.
func (p *plumbing) add(f *os.File) {
	p.far, p.made = append(p.far, f), append(p.made, f)
}

func (p *plumbing) null() error {
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err == nil {
		p.add(f)
	}
	return err
}

func (p *plumbing) input(stdin io.Reader) error {
	if f, ok := stdin.(*os.File); ok {
		p.far = append(p.far, f)
		return nil
	}
	if stdin == nil {
		return p.null()
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	p.add(r)
	go func() { io.Copy(w, stdin); w.Close() }() // ends when the far end has been closed, at the latest
	return nil
}

func (p *plumbing) output(to io.Writer) error {
	if f, ok := to.(*os.File); ok {
		p.far = append(p.far, f)
		return nil
	}
	if to == nil {
		return p.null()
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	p.add(w)
	p.near = append(p.near, r)
	done := make(chan struct{})
	p.copied = append(p.copied, done)
	go func() { defer close(done); io.Copy(to, r) }()
	return nil
}

// finish is called when the program has ended: it waits for the rest of its output, and gives why it was none.
func (p *plumbing) finish() *childFailure {
	helper.CloseAll(p.made)
	failure := readFailure(p.status)
	ctx, cancel := context.WithTimeout(context.Background(), pipePatience) // descendants may hold pipes open
	defer cancel()
	for _, c := range p.copied {
		select {
		case <-c:
		case <-ctx.Done():
			for _, f := range p.near {
				_ = f.SetReadDeadline(time.Unix(1, 0))
			}
			<-c
		}
	}
	helper.CloseAll(p.near)
	return failure
}

var errNoSpace = errors.New("there is no such network namespace")
