package sg

import (
	"sync"
	"sync/atomic"

	"github.com/vpclab/vpclab/vpc"
)

// RuleInfo is what the registry keeps of a rule. It is immutable and outlives the rule.
type RuleInfo struct {
	ID         string // sgr-...
	GroupID    string
	GroupName  string
	Words      string // as a person wrote it, else the canonical words
	Where      string // "lab.yaml:12"; "" if none
	Direction  vpc.Direction
	Permission vpc.Permission
	Default    bool // made together with its group, not by a person
}

// Registry gives rules and groups dense numbers, for use where a string is too large: in queries,
// verdicts and flow tables. A number is never given twice and never taken back, and the RuleInfo of a
// deleted rule stays, since a tracked flow may outlive it.
//
// All methods may be called concurrently. Look-ups in both directions take no lock.
type Registry struct {
	mu     sync.Mutex // held while a number is given out or a RuleInfo replaced
	groups numbers[string]
	rules  numbers[ruleEntry]
	names  sync.Map // group or prefix list id -> name
}

type ruleEntry struct {
	info   RuleInfo
	source vpc.SecurityGroupRule
	final  bool // the words will not change with SetName
}

// NewRegistry makes an empty registry.
func NewRegistry() *Registry { return &Registry{} }

// Group gives the number of a group's id, a new one if it has none yet.
func (r *Registry) Group(id string) uint32 {
	if n, ok := r.groups.find(id); ok {
		return n
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.groups.put(id, &id)
}

// GroupID is the inverse of Group, "" for a number that was never given.
func (r *Registry) GroupID(n uint32) string {
	if id := r.groups.get(n); id != nil {
		return *id
	}
	return ""
}

// SetName tells the name of a group or prefix list, for the words of rules that name it as a peer.
func (r *Registry) SetName(id, name string) {
	if old, ok := r.names.Load(id); !ok || old != name {
		r.names.Store(id, name)
	}
}

func (r *Registry) name(id string) string {
	name, _ := r.names.Load(id)
	s, _ := name.(string)
	return s
}

// Rule gives the number of a rule of group g, a new one if it has none yet. A rule that was modified
// keeps its number and gets a new RuleInfo.
func (r *Registry) Rule(rule *vpc.SecurityGroupRule, g *vpc.SecurityGroup) uint32 {
	n, ok := r.rules.find(rule.ID)
	if ok {
		if e := r.rules.get(n); e.final && e.source == *rule && e.info.GroupName == g.GroupName {
			return n
		}
	}
	e := r.describe(rule, g)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rules.put(rule.ID, e)
}

// FindRule gives the number of a rule's id, NoRule if it has none.
func (r *Registry) FindRule(id string) uint32 {
	n, _ := r.rules.find(id)
	return n
}

// RuleInfo describes the rule with that number, nil for NoRule and numbers never given.
func (r *Registry) RuleInfo(n uint32) *RuleInfo {
	if e := r.rules.get(n); e != nil {
		return &e.info
	}
	return nil
}

func (r *Registry) describe(rule *vpc.SecurityGroupRule, g *vpc.SecurityGroup) *ruleEntry {
	words, final := rule.Words, true
	if words == "" {
		words = rule.Permission.Words(rule.Direction, r.name)
		if id := rule.Permission.GroupID + rule.PrefixListID; id != "" {
			final = r.name(id) != ""
		}
	}
	return &ruleEntry{source: *rule, final: final, info: RuleInfo{
		ID:         rule.ID,
		GroupID:    g.ID,
		GroupName:  g.GroupName,
		Words:      words,
		Where:      rule.Where,
		Direction:  rule.Direction,
		Permission: rule.Permission,
		Default:    rule.Default,
	}}
}

// numbers gives strings dense numbers from 1 and keeps a value for each. find and get take no lock;
// calls of put must not overlap.
type numbers[T any] struct {
	byKey  sync.Map // string -> uint32
	next   uint32
	chunks atomic.Pointer[[]*chunk[T]] // replaced, never changed, when it grows
}

const chunkSize = 256

type chunk[T any] [chunkSize]atomic.Pointer[T]

func (s *numbers[T]) find(key string) (uint32, bool) {
	n, ok := s.byKey.Load(key)
	if !ok {
		return 0, false
	}
	return n.(uint32), true
}

func (s *numbers[T]) get(n uint32) *T {
	chunks := s.chunks.Load()
	if n == 0 || chunks == nil {
		return nil
	}
	i := (n - 1) / chunkSize
	if int(i) >= len(*chunks) {
		return nil
	}
	return (*chunks)[i][(n-1)%chunkSize].Load()
}

// put stores v under key's number and gives the number. The value is there before the number can be found.
func (s *numbers[T]) put(key string, v *T) uint32 {
	n, known := s.find(key)
	if !known {
		s.next++
		n = s.next
	}
	s.slot(n).Store(v)
	if !known {
		s.byKey.Store(key, n)
	}
	return n
}

func (s *numbers[T]) slot(n uint32) *atomic.Pointer[T] {
	var chunks []*chunk[T]
	if p := s.chunks.Load(); p != nil {
		chunks = *p
	}
	i := int((n - 1) / chunkSize)
	if i == len(chunks) {
		grown := append(chunks[:i:i], new(chunk[T]))
		s.chunks.Store(&grown)
		chunks = grown
	}
	return &chunks[i][(n-1)%chunkSize]
}
