package agent

import (
	"errors"
	"net/http"
	"strings"

	"github.com/vpclab/vpclab/vpc"
)

// Codes of an Error that are not AWS's own.
const (
	CodeInternal        = "InternalError"
	CodeBadRequest      = "InvalidRequest"   // the request itself is malformed
	CodeInvalidLab      = "InvalidLab"       // a lab or tests file; see Problems
	CodeUnknownObject   = "UnknownObject"    // see Near
	CodeAmbiguousObject = "AmbiguousObject"  // see Near
	CodeUnsupported     = "Unsupported"      // cannot be done with this driver or on this machine
	CodeNoDriver        = "NoDriver"         // no driver works here, or the one asked for does not
	CodeUnreachable     = "AgentUnreachable" // made by the client: no agent answers
	CodeInUse           = "DataDirInUse"     // another agent holds the data directory
	CodeNoPermission    = "NoPermission"
	CodeBroken          = "ConnectionBroken" // made by the client: the agent went away in the middle of an answer
	CodeNoTests         = "NoTests"          // nothing to test
	CodeOtherFile       = "OtherFile"        // the lab is up, from another file
)

// Error is a failed request. It says what was wrong, where, and what would be right.
type Error struct {
	Code    string `json:"code"` // AWS's code where AWS has one, else one of the constants
	Message string `json:"message"`
	Field   string `json:"field,omitempty"` // of the request or the file: "instances.web-1.ip"
	Where   string `json:"where,omitempty"` // "lab.yaml:12:5"
	Fix     string `json:"fix,omitempty"`   // what to do: "start one with `vpclab up FILE`"
	// Near has names that were perhaps meant.
	Near     []string  `json:"near,omitempty"`
	Problems []Problem `json:"problems,omitempty"` // all that is wrong with a file, in its order
}

// Problem is one thing that is wrong with a file.
type Problem struct {
	Where   string `json:"where"` // "lab.yaml:12:5"
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`           // with what would be right
	Excerpt string `json:"excerpt,omitempty"` // source lines with a caret
}

// Error gives "where: field: message", without the code: AWS's codes are for programs.
func (e *Error) Error() string {
	var b strings.Builder
	for _, s := range []string{e.Where, e.Field} {
		if s != "" {
			b.WriteString(s + ": ")
		}
	}
	b.WriteString(e.Message)
	return b.String()
}

// Error gives the problem in one line.
func (p *Problem) Error() string {
	return (&Error{Where: p.Where, Field: p.Field, Message: p.Message}).Error()
}

// asError gives err as what is sent: itself if it is an *Error, with AWS's code if it is the model's, else InternalError.
func asError(err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var model *vpc.Error
	if errors.As(err, &model) {
		return &Error{Code: model.Code, Message: model.Message, Field: model.Field, Fix: model.Hint}
	}
	return &Error{Code: CodeInternal, Message: err.Error()}
}

// statusOf gives the HTTP status for a code. AWS answers 400 for nearly all that a caller can do wrong.
func statusOf(code string) int {
	switch code {
	case CodeInternal:
		return http.StatusInternalServerError
	case CodeUnknownObject:
		return http.StatusNotFound
	case CodeNoPermission:
		return http.StatusForbidden
	case CodeUnsupported, CodeNoDriver:
		return http.StatusNotImplemented
	}
	return http.StatusBadRequest
}
