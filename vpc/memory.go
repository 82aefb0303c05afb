package vpc

import (
	"context"
	"slices"
	"sync"
)

// history is how many commits a MemoryStore can tell of.
const history = 1024

// MemoryStore is a Store that lives as long as the process.
type MemoryStore struct {
	model *Model

	update sync.Mutex // held by the one running Update

	mu      sync.Mutex // guards what follows
	changed chan struct{}
	recent  []ChangeSet // oldest first, revisions without a gap
}

// NewMemoryStore makes an empty store.
func NewMemoryStore(cfg Config) *MemoryStore {
	return &MemoryStore{model: NewModel(cfg), changed: make(chan struct{})}
}

// View gives the newest committed state.
func (s *MemoryStore) View() *View { return s.model.View() }

// Changed gives a channel that is closed by the next commit.
func (s *MemoryStore) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Update runs fn once, after the updates that came before. A transaction that changed nothing makes no revision.
func (s *MemoryStore) Update(ctx context.Context, fn func(*Tx) error) (Revision, error) {
	s.update.Lock()
	defer s.update.Unlock()
	tx := s.model.Begin()
	defer tx.close()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := fn(tx); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	changes := tx.Changes()
	if len(changes) == 0 {
		return tx.rev, nil
	}
	return s.commit(tx, changes)
}

func (s *MemoryStore) commit(tx *Tx, changes []Change) (Revision, error) {
	rev := tx.rev + 1
	s.mu.Lock() // so that who sees the new view also gets its changes
	defer s.mu.Unlock()
	if err := s.model.Commit(tx, rev); err != nil {
		return 0, err
	}
	if len(s.recent) == history {
		s.recent = slices.Delete(s.recent, 0, 1)
	}
	s.recent = append(s.recent, ChangeSet{Revision: rev, Changes: changes})
	close(s.changed)
	s.changed = make(chan struct{})
	return rev, nil
}

// Changes tells of the last 1024 commits.
func (s *MemoryStore) Changes(since Revision) ([]ChangeSet, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.model.View().rev
	oldest := now - Revision(len(s.recent)) // the state before the oldest known commit
	if since > now || since < oldest {
		return nil, false
	}
	return slices.Clone(s.recent[since-oldest:]), true
}
