package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/vpclab/vpclab/api/agent"
)

// Exit codes. They are part of the interface: see exitHelp.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitWarnings    = 3
	exitUnreachable = 4
	exitInterrupted = 130
	exitUnread      = 141 // what a shell says of a program that SIGPIPE ended
)

const exitHelp = `Exit codes:
  0    all is well
  1    a check failed: a test, validate, a request that was refused, or with
       --exit-code a verdict that is not ACCEPT
  2    the command line or a file it names cannot be used; nothing to test
  3    no failure, but warnings; doctor: something is lacking
  4    no agent can be reached
  130  interrupted
  141  nobody reads the output any more
exec ends with the exit code of the program it ran.`

// exitError ends the program with a code. Its error is printed unless it is nil.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exit ends the program with a code and without a word: all has been said.
func exit(code int) error {
	if code == exitOK {
		return nil
	}
	return &exitError{code: code}
}

func usage(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// codeOf gives the exit code for a command's error.
func codeOf(err error) int {
	var own *exitError
	var failed *agent.Error
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		return own.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case !errors.As(err, &failed) && errors.Is(err, syscall.EPIPE):
		return exitUnread
	case failed == nil:
		return exitFailed
	}
	switch failed.Code {
	case agent.CodeUnreachable, agent.CodeBroken:
		return exitUnreachable
	case agent.CodeInvalidLab, agent.CodeBadRequest, agent.CodeUnknownObject, agent.CodeAmbiguousObject, agent.CodeNoTests, agent.CodeOtherFile:
		return exitUsage
	}
	return exitFailed
}
