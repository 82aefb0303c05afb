package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vpclab/vpclab/api/agent"
	"github.com/vpclab/vpclab/internal/render"
)

// maxFile is the largest lab file that is read.
const maxFile = 16 << 20

// readFile reads a lab or tests file; "-" is standard input, and a directory stands for the lab.yaml in it.
func (a *app) readFile(path string) (agent.File, error) {
	if path == "-" {
		data, err := limited(a.in)
		if err != nil {
			return agent.File{}, usage("standard input: %w", err)
		}
		return agent.File{Name: "stdin", Data: data}, nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "lab.yaml")
	}
	f, err := os.Open(path)
	if err != nil {
		return agent.File{}, fileError(path, err)
	}
	defer f.Close()
	data, err := limited(f)
	if err != nil {
		return agent.File{}, fileError(path, err)
	}
	return agent.File{Name: path, Path: ownPath(path), Data: data}, nil
}

// ownPath is where a file is, however it was named. One that has no such place is told by its name.
func ownPath(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real
	}
	return abs
}

func limited(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		return nil, fmt.Errorf("larger than %d MiB: that is no lab file", maxFile>>20)
	}
	return data, err
}

// plain is what the kernel says, without the call and the path, which the message has already.
func plain(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

func fileError(path string, err error) error {
	e := &agent.Error{Code: agent.CodeInvalidLab, Where: path, Message: plain(err).Error()}
	if errors.Is(err, fs.ErrNotExist) {
		e.Fix = "name a lab file, a directory with a lab.yaml, or - for standard input"
	}
	return &exitError{code: exitUsage, err: e}
}

func (a *app) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "validate FILE",
		Short: "Check a lab file; needs no agent",
		Long:  "Check a lab file without running anything. Exits with 0 if it is valid, 1 if not, 3 if there are only warnings.",
		Args:  cobra.ExactArgs(1), ValidArgsFunction: completeFiles,
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := a.readFile(args[0])
			if err != nil {
				return err
			}
			v, err := a.here.Validate(file.Name, file.Data)
			if err != nil {
				return &exitError{code: exitFailed, err: err}
			}
			if err := a.printer().Validation(v); err != nil {
				return err
			}
			if len(v.Warnings) > 0 {
				return exit(exitWarnings)
			}
			return nil
		},
	}
}

// valid checks a file before an agent is started for it.
func (a *app) valid(file agent.File) (*agent.Validation, error) {
	v, err := a.here.Validate(file.Name, file.Data)
	if err != nil {
		return nil, err
	}
	render.Problems(a.err, v.Warnings, a.colored(a.err))
	return v, nil
}
