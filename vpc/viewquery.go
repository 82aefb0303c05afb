package vpc

import (
	"maps"
	"slices"
	"strings"
)

// get looks up by id. memdb fails only on a wrong table, index or key type, which is a bug of this package.
func get[T Object](v *View, kind Kind, id string) (T, bool) { return first[T](v, kind, byID, id) }

// first gives the object with the given key; of several the one with the lowest id.
func first[T Object](v *View, kind Kind, index string, key ...any) (T, bool) {
	var none T
	raw, err := v.txn.First(string(kind), index, key...)
	if err != nil {
		panic("vpc: " + err.Error())
	}
	if raw == nil {
		return none, false
	}
	return raw.(T), true
}

// list gives the objects whose key starts with the given parts; all if there are none.
func list[T Object](v *View, kind Kind, index string, key ...any) []T {
	it, err := v.txn.Get(string(kind), index, key...)
	if err != nil {
		panic("vpc: " + err.Error())
	}
	var out []T
	for raw := it.Next(); raw != nil; raw = it.Next() {
		out = append(out, raw.(T))
	}
	return out
}

func inVPC[T Object](v *View, kind Kind, vpcID string) []T {
	if vpcID == "" {
		return list[T](v, kind, byID)
	}
	return list[T](v, kind, byVPC, vpcID)
}

func only[T any](s []T) (T, bool) {
	var none T
	if len(s) == 0 {
		return none, false
	}
	return s[0], true
}

func sortByID(objects []Object) {
	slices.SortFunc(objects, func(a, b Object) int { return strings.Compare(a.Metadata().ID, b.Metadata().ID) })
}

// labs jumps from one lab to the next in each index, so that the cost is the number of labs, not of objects.
func labs(v *View) []string {
	found := map[string]bool{}
	for _, kind := range Kinds {
		for at := ""; ; {
			it, err := v.txn.LowerBound(string(kind), byLab, at)
			if err != nil {
				panic("vpc: " + err.Error())
			}
			raw := it.Next()
			if raw == nil {
				break
			}
			lab := raw.(Object).Metadata().Lab
			found[lab] = true
			at = lab + "\x01" // after every key of this lab
		}
	}
	delete(found, "")
	return slices.Sorted(maps.Keys(found))
}
