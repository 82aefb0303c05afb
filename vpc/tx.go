package vpc

import (
	"errors"
	"net/netip"
	"time"

	"github.com/hashicorp/go-memdb"
)

// Tx is a transaction: a View that reads its own writes, and the commands. A command that gives an error has changed
// nothing; whether the transaction goes on is up to the function given to Store.Update.
//
// A Tx works on a private copy of the model and records its changes; it knows nothing of where they are kept. It must
// not be used by two goroutines, nor after the function returned.
type Tx struct {
	View
	model   *Model
	base    *View                 // what the transaction began on
	done    bool                  // committed or given up
	journal []Change              // every single put and drop, in order
	next    map[string]netip.Addr // where to look for the next free address, by subnet and family
}

var errDone = errors.New("vpc: the transaction has ended")

// Changes gives what the transaction did so far, one entry per object, in order of the first change.
func (tx *Tx) Changes() []Change {
	at := map[string]int{} // object id to place in out
	out := make([]Change, 0, len(tx.journal))
	for _, c := range tx.journal {
		id := c.Object().Metadata().ID
		if i, ok := at[id]; ok {
			out[i].After = c.After
			continue
		}
		at[id] = len(out)
		out = append(out, c)
	}
	kept := out[:0]
	for _, c := range out {
		if c.Before != c.After { // nil and nil: made and deleted again
			kept = append(kept, c)
		}
	}
	return kept
}

// command runs one command: if it fails, what it changed is undone.
func command[T any](tx *Tx, fn func() (T, error)) (T, error) {
	var none T
	if tx.done {
		return none, errDone
	}
	mark := len(tx.journal)
	out, err := fn()
	if err != nil {
		tx.undo(mark)
		return none, err
	}
	return out, nil
}

// undo takes back what was done since the journal had the given length.
func (tx *Tx) undo(mark int) {
	for i := len(tx.journal) - 1; i >= mark; i-- {
		c := tx.journal[i]
		tx.apply(Change{Before: c.After, After: c.Before})
	}
	tx.journal = tx.journal[:mark]
}

// put stores an object under its id.
func (tx *Tx) put(o Object) {
	before := tx.apply(Change{After: o})
	tx.journal = append(tx.journal, Change{Before: before, After: o})
}

// drop deletes an object.
func (tx *Tx) drop(o Object) {
	tx.apply(Change{Before: o})
	tx.journal = append(tx.journal, Change{Before: o})
}

// now is the time to write into objects: without the monotonic part, which no store keeps.
func (tx *Tx) now() time.Time { return tx.cfg.Now().UTC().Round(0) }

// close ends the transaction: its commands fail from now on.
func (tx *Tx) close() { tx.done = true }

// apply makes one change in the database of a view that is not published yet, and keeps the index of rules and the
// counts in step. It gives the object that was there before. memdb fails only on a wrong table or index, or on deleting
// what is not there: bugs of this package, or of a store that lost a change.
func (v *View) apply(c Change) (before Object) {
	o := c.Object()
	kind := o.Kind()
	before, _ = get[Object](v, kind, o.Metadata().ID)
	var err error
	if c.After != nil {
		err = v.txn.Insert(string(kind), o)
	} else {
		err = v.txn.Delete(string(kind), o)
	}
	if err == nil && kind == KindSecurityGroup {
		err = applyRules(v.txn, rulesOf(before), rulesOf(c.After))
	}
	if err != nil {
		panic("vpc: " + err.Error())
	}
	switch {
	case before == nil:
		v.counts[kindNumber(kind)]++
	case c.After == nil:
		v.counts[kindNumber(kind)]--
	}
	return before
}

// applyRules deletes the rows of rules that went and adds those of new ones.
func applyRules(txn *memdb.Txn, old, now []SecurityGroupRule) error {
	// Most changes add or take away a few rules: what both lists begin and end with needs no work.
	for len(old) > 0 && len(now) > 0 && old[0].ID == now[0].ID {
		old, now = old[1:], now[1:]
	}
	for len(old) > 0 && len(now) > 0 && old[len(old)-1].ID == now[len(now)-1].ID {
		old, now = old[:len(old)-1], now[:len(now)-1]
	}
	fresh := make(map[string]bool, len(now)) // in the end: the rules that old does not have
	for i := range now {
		fresh[now[i].ID] = true
	}
	for i := range old {
		if fresh[old[i].ID] {
			delete(fresh, old[i].ID)
		} else if err := txn.Delete(ruleTable, &ruleRow{ID: old[i].ID}); err != nil {
			return err
		}
	}
	for i := range now {
		if !fresh[now[i].ID] {
			continue
		}
		if err := txn.Insert(ruleTable, &ruleRow{ID: now[i].ID, GroupID: now[i].GroupID}); err != nil {
			return err
		}
	}
	return nil
}

func rulesOf(o Object) []SecurityGroupRule {
	if o == nil {
		return nil
	}
	return o.(*SecurityGroup).Rules
}
