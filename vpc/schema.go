package vpc

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/hashicorp/go-memdb"
)

// Index names. Each is a list of key parts; a look-up gives all of them, or for a list the leading ones.
const (
	byID     = "id"
	byLab    = "lab"     // lab, label
	byVPC    = "vpc"     // VPC id
	byName   = "name"    // VPC id, label in lower case
	bySubnet = "subnet"  // subnet id
	byAddr   = "addr"    // VPC id, address: unique
	byMAC    = "mac"     // MAC
	byGroup  = "group"   // member groups of an interface; peer groups of a group
	byList   = "list"    // prefix lists that a group names
	byTarget = "target"  // what a flow log watches
	byTenant = "default" // the default VPC
)

const ruleTable = "security-group-rule"

// ruleRow says which group holds a rule. It is derived from the groups, never stored elsewhere.
type ruleRow struct{ ID, GroupID string }

// schema is the layout of the in-memory database: a table for each kind, and the index of rules by id.
func schema() *memdb.DBSchema {
	tables := map[string]*memdb.TableSchema{}
	add := func(name string, indexes ...*memdb.IndexSchema) {
		t := &memdb.TableSchema{Name: name, Indexes: map[string]*memdb.IndexSchema{
			byID: {Name: byID, Unique: true, Indexer: idIndex{}},
		}}
		for _, i := range indexes {
			t.Indexes[i.Name] = i
		}
		tables[name] = t
	}
	for kind, indexes := range kindIndexes() {
		lab := index(byLab, func(o Object) []string { return one(key(o.Metadata().Lab, o.label())) })
		add(string(kind), append(indexes, lab)...)
	}
	add(ruleTable)
	return &memdb.DBSchema{Tables: tables}
}

func kindIndexes() map[Kind][]*memdb.IndexSchema {
	addr := index(byAddr, addressKeys)
	addr.Unique = true
	return map[Kind][]*memdb.IndexSchema{
		KindVPC: {index(byTenant, func(v *VPC) []string {
			if v.IsDefault {
				return one(key("yes"))
			}
			return nil
		})},
		KindSubnet: {
			index(byVPC, func(s *Subnet) []string { return one(key(s.VPCID)) }),
			index(byName, func(s *Subnet) []string { return one(key(s.VPCID, strings.ToLower(s.Name))) }),
		},
		KindRouteTable: {index(byVPC, func(t *RouteTable) []string { return one(key(t.VPCID)) })},
		KindNetworkInterface: {
			index(byVPC, func(n *NetworkInterface) []string { return one(key(n.VPCID)) }),
			index(bySubnet, func(n *NetworkInterface) []string { return one(key(n.SubnetID)) }),
			index(byMAC, func(n *NetworkInterface) []string { return one(key(n.MAC)) }),
			index(byGroup, func(n *NetworkInterface) []string { return keys(n.Groups) }),
			addr,
		},
		KindSecurityGroup: {
			index(byVPC, func(g *SecurityGroup) []string { return one(key(g.VPCID)) }),
			index(byName, func(g *SecurityGroup) []string { return one(key(g.VPCID, strings.ToLower(g.GroupName))) }),
			index(byGroup, func(g *SecurityGroup) []string { return peers(g, func(p *Permission) string { return p.GroupID }) }),
			index(byList, func(g *SecurityGroup) []string { return peers(g, func(p *Permission) string { return p.PrefixListID }) }),
		},
		KindPrefixList: nil,
		KindInstance:   {index(byVPC, func(i *Instance) []string { return one(key(i.VPCID)) })},
		KindFlowLog:    {index(byTarget, func(f *FlowLog) []string { return one(key(f.ResourceID)) })},
	}
}

// addressKeys are the keys of all addresses of an interface.
func addressKeys(n *NetworkInterface) []string {
	out := make([]string, 0, len(n.Addresses)+len(n.Addresses6))
	for _, list := range [][]netip.Addr{n.Addresses, n.Addresses6} {
		for _, a := range list {
			out = append(out, key(n.VPCID, a.String()))
		}
	}
	return out
}

// peers are the keys of the peers, of one sort, that a group's rules name; each once.
func peers(g *SecurityGroup, peer func(*Permission) string) []string {
	var out []string
	seen := map[string]bool{}
	for i := range g.Rules {
		if p := peer(&g.Rules[i].Permission); p != "" && !seen[p] {
			seen[p] = true
			out = append(out, key(p))
		}
	}
	return out
}

// key joins the parts of an index key. No id, name or address holds the separator.
func key(parts ...string) string { return strings.Join(parts, "\x00") + "\x00" }

func keys(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = key(id)
	}
	return out
}

func one(k string) []string { return []string{k} }

// index makes a list index from a function that gives an object's keys.
func index[T any](name string, keys func(T) []string) *memdb.IndexSchema {
	return &memdb.IndexSchema{Name: name, AllowMissing: true, Indexer: keyIndex(func(o any) []string { return keys(o.(T)) })}
}

// keyIndex is a memdb.MultiIndexer over the keys that the function gives.
type keyIndex func(any) []string

func (f keyIndex) FromObject(o any) (bool, [][]byte, error) {
	keys := f(o)
	out := make([][]byte, len(keys))
	for i, k := range keys {
		out[i] = []byte(k)
	}
	return len(out) > 0, out, nil
}

func (keyIndex) FromArgs(args ...any) ([]byte, error) { return argsKey(args) }

// idIndex is the memdb.SingleIndexer of the id.
type idIndex struct{}

func (idIndex) FromObject(o any) (bool, []byte, error) {
	if r, ok := o.(*ruleRow); ok {
		return true, []byte(r.ID), nil
	}
	return true, []byte(o.(Object).Metadata().ID), nil
}

func (idIndex) FromArgs(args ...any) ([]byte, error) {
	s, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("id index: want a string, have %T", args[0])
	}
	return []byte(s), nil
}

func argsKey(args []any) ([]byte, error) {
	var b []byte
	for _, a := range args {
		s, ok := a.(string)
		if !ok {
			return nil, fmt.Errorf("key index: want strings, have %T", a)
		}
		b = append(append(b, s...), 0)
	}
	return b, nil
}
