package vpc_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/vpclab/vpclab/vpc"
)

func TestCreateFlowLogs(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	want := vpc.FlowLog{
		Meta: vpc.Meta{ID: f.log.ID, Lab: "lab"}, ResourceID: f.shop.ID, TrafficType: "ALL", LogDestinationType: "s3",
		LogDestination: "arn:aws:s3:::logs/lab", LogFormat: vpc.DefaultLogFormat, MaxAggregationInterval: 600, CreationTime: launch,
	}
	if !reflect.DeepEqual(*f.log, want) {
		t.Errorf("have %+v\nwant %+v", *f.log, want)
	}
	f.do(t, func(tx *vpc.Tx) error {
		logs, err := tx.CreateFlowLogs(vpc.CreateFlowLogsInput{
			ResourceType: "Subnet", ResourceIDs: []string{f.public.ID, f.private.ID}, TrafficType: "REJECT", LogDestination: "logs/",
			LogDestinationType: "s3", LogFormat: " ${srcaddr}\t${dstaddr}  ${action} ", MaxAggregationInterval: 60, HiveCompatible: true, PerHourPartition: true,
		})
		if err != nil {
			return err
		}
		for i, s := range []*vpc.Subnet{f.public, f.private} {
			l := logs[i]
			if l.ResourceID != s.ID || l.LogDestination != "arn:aws:s3:::logs" || l.LogFormat != "${srcaddr} ${dstaddr} ${action}" ||
				l.MaxAggregationInterval != 60 || !l.HiveCompatible || !l.PerHourPartition || l.TrafficType != "REJECT" {
				t.Errorf("flow log %+v", l)
			}
		}
		return nil
	})
}

// TestFlowLogsBesideEachOther: another destination, folder or type of traffic is another subscription.
func TestFlowLogsBesideEachOther(t *testing.T) {
	f := newFixture(t, vpc.Config{})
	f.do(t, func(tx *vpc.Tx) error {
		for _, edit := range []func(*vpc.CreateFlowLogsInput){
			func(in *vpc.CreateFlowLogsInput) { in.LogDestination += "/folder" },
			func(in *vpc.CreateFlowLogsInput) { in.LogDestination = "other-logs" },
			func(in *vpc.CreateFlowLogsInput) { in.TrafficType = "ACCEPT" },
		} {
			in := f.flowLogs()
			edit(&in)
			if _, err := tx.CreateFlowLogs(in); err != nil {
				return err
			}
		}
		return nil
	})
	v := f.store.View()
	if n := len(v.FlowLogsOf(f.shop.ID)); n != 4 {
		t.Errorf("%d flow logs", n)
	}
	f.do(t, func(tx *vpc.Tx) error { return tx.DeleteFlowLogs(v.FlowLogs()[0].ID, v.FlowLogs()[1].ID) })
	if n := len(f.store.View().FlowLogs()); n != 2 {
		t.Errorf("%d flow logs are left", n)
	}
}

func TestFlowLogErrors(t *testing.T) {
	create := func(edit func(*fixture, *vpc.CreateFlowLogsInput)) func(*fixture, *vpc.Tx) error {
		return func(f *fixture, tx *vpc.Tx) error {
			in := f.flowLogs()
			in.LogDestination = "new-bucket"
			edit(f, &in)
			return errOf(tx.CreateFlowLogs(in))
		}
	}
	to := func(s string) func(*fixture, *vpc.Tx) error {
		return create(func(_ *fixture, in *vpc.CreateFlowLogsInput) { in.LogDestination = s })
	}
	format := func(s string) func(*fixture, *vpc.Tx) error {
		return create(func(_ *fixture, in *vpc.CreateFlowLogsInput) { in.LogFormat = s })
	}
	badPlace := func(s string) func(*fixture) string {
		return say("LogDestination: " + s + " is not a valid bucket and folder")
	}
	tests := []refusal{
		{"the same again", to("arn:aws:s3:::logs/lab/"), "FlowLogAlreadyExists",
			say("Error. There is an existing Flow Log with the same configuration and log destination."), "ResourceIDs[0]", ""},
		{"one resource twice", create(func(f *fixture, in *vpc.CreateFlowLogsInput) { in.ResourceIDs = []string{f.shop.ID, f.shop.ID} }), "FlowLogAlreadyExists",
			say("Error. There is an existing Flow Log with the same configuration and log destination."), "ResourceIDs[1]", ""},
		{"a resource that is not there", create(func(f *fixture, in *vpc.CreateFlowLogsInput) { in.ResourceIDs = []string{f.shop.ID, absent("vpc")} }),
			"InvalidVpcID.NotFound", say("The vpc ID 'vpc-0123456789abcdef0' does not exist"), "ResourceIDs[1]", ""},
		{"a resource of another type", create(func(f *fixture, in *vpc.CreateFlowLogsInput) { in.ResourceIDs = []string{f.public.ID} }),
			"InvalidVpcID.Malformed", func(f *fixture) string { return `Invalid id: "` + f.public.ID + `" (expecting "vpc-...")` }, "ResourceIDs[0]", ""},
		{"no resource", create(func(_ *fixture, in *vpc.CreateFlowLogsInput) { in.ResourceIDs = nil }),
			"MissingParameter", say("The request must contain 1 to 300 of the parameter resourceId"), "ResourceIDs", ""},
		{"a type that cannot be watched", create(func(_ *fixture, in *vpc.CreateFlowLogsInput) { in.ResourceType = "TransitGateway" }),
			"InvalidParameter", say("Invalid resource type: TransitGateway"), "ResourceType", "VPC, Subnet or NetworkInterface"},
		{"no traffic type", create(func(_ *fixture, in *vpc.CreateFlowLogsInput) { in.TrafficType = "" }),
			"MissingParameter", say("The request must contain the parameter TrafficType"), "TrafficType", ""},
		{"a bad traffic type", create(func(_ *fixture, in *vpc.CreateFlowLogsInput) { in.TrafficType = "accept" }),
			"InvalidParameter", say("Invalid traffic type: accept"), "TrafficType", "ACCEPT, REJECT or ALL"},
		{"CloudWatch", create(func(_ *fixture, in *vpc.CreateFlowLogsInput) { in.LogDestinationType = "cloud-watch-logs" }),
			"UnsupportedOperation", say("The log destination type cloud-watch-logs is not available."), "LogDestinationType", "s3"},
		{"a bad destination type", create(func(_ *fixture, in *vpc.CreateFlowLogsInput) { in.LogDestinationType = "file" }),
			"InvalidParameter", say("Invalid log destination type: file"), "LogDestinationType", ""},
		{"no destination", to(""), "InvalidParameter", say("LogDestination can't be empty if LogGroupName is not provided."), "LogDestination", ""},
		{"a bad interval", create(func(_ *fixture, in *vpc.CreateFlowLogsInput) { in.MaxAggregationInterval = 61 }),
			"InvalidParameter", say("Invalid Flow Log Max Aggregation Interval"), "MaxAggregationInterval", "60 or 600"},
		{"an unknown field", format("${srcaddr} ${nonsense}"), "InvalidParameter", say("Unknown fields provided: nonsense"), "LogFormat", ""},
		{"no field at all", format("srcaddr dstaddr"), "InvalidParameter", say("Invalid log format: srcaddr"), "LogFormat", "${srcaddr}"},
		{"no blank between", format("${srcaddr}${dstaddr}"), "InvalidParameter", say("Invalid log format: ${srcaddr}${dstaddr}"), "LogFormat", "blanks"},
		{"delete what is not there", func(f *fixture, tx *vpc.Tx) error { return tx.DeleteFlowLogs(f.log.ID, absent("fl")) },
			"InvalidFlowLogId.NotFound", say("These flow log ids in the input list are not found: [TotalCount: 1] fl-0123456789abcdef0"), "IDs[1]", ""},
		{"delete a bad id", func(_ *fixture, tx *vpc.Tx) error { return tx.DeleteFlowLogs("fl") },
			"InvalidFlowLogId.Malformed", say(`Invalid id: "fl" (expecting "fl-...")`), "IDs[0]", ""},
		{"delete nothing", func(_ *fixture, tx *vpc.Tx) error { return tx.DeleteFlowLogs() },
			"MissingParameter", say("The request must contain the parameter flowLogId"), "IDs", ""},
	}
	for _, s := range []string{"..", "../etc", "logs/../../etc", "logs//x", "/etc", "logs/.", "ab", "Logs", "a..b", "logs/a\x00b", "logs/a\\b", "logs/ä", "arn:aws:s3:::", "-logs"} {
		tests = append(tests, refusal{"to " + s, to(s), "InvalidParameter", badPlace(s), "LogDestination", "arn:aws:s3:::BUCKET"})
	}
	tests = append(tests, refusal{"to AWSLogs", to("logs/AWSLogs/x"), "InvalidParameter", badPlace("logs/AWSLogs/x"), "LogDestination", "reserved"})
	check := func(format string) error {
		if strings.Contains(format, "nonsense") {
			return errors.New("Unknown fields provided: nonsense")
		}
		return nil
	}
	refuse(t, vpc.Config{CheckLogFormat: check}, tests)
	refuse(t, vpc.Config{Quotas: vpc.Quotas{FlowLogsPerResource: 1}}, []refusal{
		{"one too many", to("new-bucket"), "FlowLogsLimitExceeded", say("You've reached the limit on the number of flow logs you can create."), "ResourceIDs[0]", ""},
	})
}
