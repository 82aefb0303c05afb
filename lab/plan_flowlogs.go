package lab

import (
	"slices"
	"strings"

	"github.com/vpclab/vpclab/vpc"
)

// matchFlowLogs finds the flow logs that can stay. Flow logs cannot be changed.
func (p *planner) matchFlowLogs() map[*FlowLog]*vpc.FlowLog {
	kept := map[*FlowLog]*vpc.FlowLog{}
	for _, l := range p.f.FlowLogs {
		want := p.flowLogInput(l)
		i := slices.IndexFunc(p.existing.flowLogs, func(e *vpc.FlowLog) bool {
			return e.ResourceID == want.ResourceIDs[0] && e.TrafficType == want.TrafficType && e.LogDestination == want.LogDestination &&
				e.LogFormat == want.LogFormat && e.MaxAggregationInterval == want.MaxAggregationInterval &&
				e.HiveCompatible == want.HiveCompatible && e.PerHourPartition == want.PerHourPartition
		})
		if i >= 0 {
			kept[l] = p.existing.flowLogs[i]
		}
	}
	return kept
}

// flowLogInput is what makes a flow log; its resource is "" while that is not made.
func (p *planner) flowLogInput(l *FlowLog) vpc.CreateFlowLogsInput {
	var id string
	switch first, second := l.resourceNames[0], l.resourceNames[1]; l.resourceType {
	case "VPC":
		id = p.out.VPCs[first]
	case "Subnet":
		id = p.out.Subnets[first+"/"+second]
	default:
		id = p.out.Interfaces[first]
	}
	return vpc.CreateFlowLogsInput{
		Owner: p.owner(l.Resource, nil), ResourceType: l.resourceType, ResourceIDs: []string{id}, TrafficType: strings.ToUpper(l.Traffic),
		LogDestinationType: "s3", LogDestination: "arn:aws:s3:::" + l.Destination, LogFormat: string(l.Format), MaxAggregationInterval: l.Interval,
		HiveCompatible: l.Hive, PerHourPartition: l.PerHour,
	}
}

func (p *planner) removeFlowLogs(kept map[*FlowLog]*vpc.FlowLog) {
	stays := map[string]bool{}
	for _, e := range kept {
		stays[e.ID] = true
	}
	for _, e := range p.existing.flowLogs {
		if !stays[e.ID] {
			p.add(op{change: Change{Action: Delete, Kind: vpc.KindFlowLog, Name: orElse(e.Name, e.ID), ID: e.ID, Detail: e.TrafficType},
				do: func(tx *vpc.Tx) error { return tx.DeleteFlowLogs(e.ID) }})
		}
	}
}

func (p *planner) makeFlowLogs(kept map[*FlowLog]*vpc.FlowLog) {
	for i, l := range p.f.FlowLogs {
		if _, ok := kept[l]; ok {
			continue
		}
		path := "flow-logs"
		if at := element(path, i); p.f.spans[at].line > 0 {
			path = at
		}
		p.add(op{change: Change{Action: Add, Kind: vpc.KindFlowLog, Name: l.Resource, Detail: strings.ToUpper(l.Traffic), Where: l.Pos}, at: l.Pos, path: path,
			do: func(tx *vpc.Tx) error { _, err := tx.CreateFlowLogs(p.flowLogInput(l)); return err }})
	}
}
