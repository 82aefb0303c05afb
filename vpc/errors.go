package vpc

import (
	"errors"
	"fmt"
	"strconv"
)

// Error is a refused command, in AWS's words. Code and Message are what the EC2 API would answer.
type Error struct {
	Code    string // "InvalidSubnet.Conflict"
	Message string
	Field   string // the field of the command's input that is wrong: "CIDR", "Rules[2].FromPort"; "" if none in particular
	Hint    string // what would be right, in plain words; "" if nothing better than Message can be said
}

// Error gives "Code: Message".
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ErrorCode gives the AWS code of an error returned by a command, or "".
func ErrorCode(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// fail makes an *Error; the message is formatted.
func fail(code, field, format string, args ...any) *Error {
	return &Error{Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

// hint adds what would be right.
func (e *Error) hint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// within puts a field prefix before the field of an *Error: "Rules[2]" and "FromPort" give "Rules[2].FromPort".
func within(err error, prefix string) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	if e.Field == "" {
		return fieldOf(err, prefix)
	}
	return fieldOf(err, prefix+"."+e.Field)
}

// fieldOf names another field as the wrong one in an *Error.
func fieldOf(err error, field string) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	c := *e
	c.Field = field
	return &c
}

// element is the field name of one element of a list.
func element(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }
