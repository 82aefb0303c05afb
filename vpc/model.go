package vpc

import (
	"errors"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-memdb"
)

// Model is the indexed form of the model in memory, which every store keeps: the memory store has nothing else, a
// durable one mirrors its database in it. Begin starts a transaction on a private copy. The memory store makes it
// visible by Commit; a durable store writes its Changes first, and then follows its database by Apply.
//
// View and Begin are safe for concurrent use. Commit and Apply must be called by one goroutine at a time.
type Model struct {
	cfg    Config
	ids    *source
	latest atomic.Pointer[View]

	mu   sync.Mutex
	next map[string]netip.Addr // see Tx.next; replaced, never changed
}

// errStale is Commit's error for a transaction that began before the newest state.
var errStale = errors.New("vpc: the model changed since the transaction began")

// NewModel makes an empty model at revision 0.
func NewModel(cfg Config) *Model {
	db, err := memdb.NewMemDB(schema())
	if err != nil {
		panic("vpc: " + err.Error()) // the schema is a constant of this package
	}
	m := &Model{cfg: cfg.withDefaults(), ids: newSource(cfg.Seed), next: map[string]netip.Addr{}}
	m.publish(&View{db: db}, 0)
	return m
}

// View gives the newest state.
func (m *Model) View() *View { return m.latest.Load() }

// Begin starts a transaction on the newest state. What it does stays private until it is committed or applied.
func (m *Model) Begin() *Tx {
	v := m.View()
	m.mu.Lock()
	next := maps.Clone(m.next)
	m.mu.Unlock()
	db := v.db.Snapshot()
	return &Tx{
		View:  View{db: db, txn: db.Txn(true), rev: v.rev, cfg: &m.cfg, counts: v.counts},
		model: m,
		base:  v,
		next:  next,
	}
}

// Commit makes a transaction visible, all at once, as revision rev. It fails if the model changed since Begin.
func (m *Model) Commit(tx *Tx, rev Revision) error {
	if m.View() != tx.base {
		return errStale
	}
	tx.txn.Commit()
	tx.done = true
	m.mu.Lock()
	m.next = tx.next
	m.mu.Unlock()
	m.publish(&tx.View, rev)
	return nil
}

// Apply makes the changes of one commit, made anywhere, visible, all at once, as revision rev. Of a change that is no
// deletion only After is needed.
func (m *Model) Apply(rev Revision, changes []Change) {
	old := m.View()
	db := old.db.Snapshot()
	v := &View{db: db, txn: db.Txn(true), counts: old.counts}
	for _, c := range changes {
		v.apply(c)
	}
	v.txn.Commit()
	m.publish(v, rev)
}

// publish makes the committed state of a view the newest one.
func (m *Model) publish(v *View, rev Revision) {
	m.latest.Store(&View{db: v.db, txn: v.db.Txn(false), rev: rev, cfg: &m.cfg, counts: v.counts})
}
