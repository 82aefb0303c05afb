package vpc

// Quotas are AWS's limits (Amazon VPC quotas). A zero field means AWS's default.
type Quotas struct {
	VPCs                   int // per Region: 5
	SubnetsPerVPC          int // 200
	SecurityGroups         int // per Region: 2500
	RulesPerGroup          int // per direction, counted apart for IPv4 and IPv6: 60
	GroupsPerInterface     int // 5
	NetworkInterfaces      int // per Region: 5000
	AddressesPerInterface  int // per family: 50, the most that any instance type has
	PrefixLists            int // per Region: 100
	EntriesPerPrefixList   int // 1000
	FlowLogsPerResource    int // 250
	InterfacesPerInstance  int // 15, the most that any instance type has
	TagsPerResource        int // 50
	FlowLogResourcesAtOnce int // resources in one CreateFlowLogs: 300
}

func (q Quotas) withDefaults() Quotas {
	set := func(field *int, n int) {
		if *field == 0 {
			*field = n
		}
	}
	set(&q.VPCs, 5)
	set(&q.SubnetsPerVPC, 200)
	set(&q.SecurityGroups, 2500)
	set(&q.RulesPerGroup, 60)
	set(&q.GroupsPerInterface, 5)
	set(&q.NetworkInterfaces, 5000)
	set(&q.AddressesPerInterface, 50)
	set(&q.PrefixLists, 100)
	set(&q.EntriesPerPrefixList, 1000)
	set(&q.FlowLogsPerResource, 250)
	set(&q.InterfacesPerInstance, 15)
	set(&q.TagsPerResource, 50)
	set(&q.FlowLogResourcesAtOnce, 300)
	return q
}

// room gives the error of a quota per Region that one more object of a kind would exceed.
func (tx *Tx) room(quota int, kind Kind, code, things string) error {
	return roomFor(tx.counts[kindNumber(kind)], quota, code, things)
}

func roomFor(have, quota int, code, things string) error {
	if have < quota {
		return nil
	}
	return fail(code, "", "The maximum number of %s has been reached.", things).hint("the quota is %d", quota)
}
