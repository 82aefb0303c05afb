package vpc

import (
	"context"
	"time"
)

// Revision numbers the states of a model. It only grows; 0 is the empty model. What is applied anywhere is always a
// whole revision.
type Revision uint64

// Store holds the model. All stores pass the suite in package storetest.
type Store interface {
	// Update runs commands in one transaction and gives the revision that holds their effect. If fn gives an error (or
	// panics), or ctx ends before the commit, nothing of it is ever seen and the error is returned as it is. A store
	// may run fn more than once, so fn must not have effects of its own. Updates are serial: fn sees every update
	// that committed before its own does. fn must not use tx after it returned, nor in another goroutine.
	Update(ctx context.Context, fn func(tx *Tx) error) (Revision, error)
	// View gives the newest committed state. It never blocks.
	View() *View
	// Changed gives a channel that is closed by the next commit. Take it before the View, and no commit is missed.
	Changed() <-chan struct{}
	// Changes gives what was committed after a revision, oldest first. It is false if the store no longer knows (or
	// never knew that revision); then compare whole Views.
	Changes(since Revision) ([]ChangeSet, bool)
}

// ChangeSet is what one commit did.
type ChangeSet struct {
	Revision Revision
	Changes  []Change
}

// Change is the difference that a commit made to one object. Before is nil for a new object, After for a deleted one.
type Change struct {
	Before, After Object
}

// Object is After, or for a deleted object Before.
func (c *Change) Object() Object {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// Config is what a model needs besides its objects. The zero value is usable.
type Config struct {
	Account string           // 12 digits; "": "123456789012"
	Region  string           // "": "us-east-1"
	Seed    uint64           // of ids, MACs and IPv6 blocks, for repeatable tests; 0: random
	Now     func() time.Time // nil: time.Now
	Quotas  Quotas           // zero fields: AWS's defaults
	// CheckLogFormat gives an error for a flow log format that names an unknown field. nil: only the syntax is checked.
	CheckLogFormat func(format string) error
}

func (c Config) withDefaults() Config {
	if c.Account == "" {
		c.Account = "123456789012"
	}
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Quotas = c.Quotas.withDefaults()
	return c
}
