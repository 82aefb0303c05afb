package vpc

import (
	"regexp"
	"slices"
	"strings"
)

// CreateFlowLogs makes one flow log per resource, all of them or, on any error, none. Flow logs cannot be changed, only
// deleted; they go with their resource. Errors: MissingParameter, InvalidParameter, InvalidParameterValue,
// FlowLogAlreadyExists, FlowLogsLimitExceeded, UnsupportedOperation, the resource's NotFound.
func (tx *Tx) CreateFlowLogs(in CreateFlowLogsInput) ([]*FlowLog, error) {
	return command(tx, func() ([]*FlowLog, error) { return tx.createFlowLogs(in) })
}

func (tx *Tx) createFlowLogs(in CreateFlowLogsInput) ([]*FlowLog, error) {
	proto, err := tx.flowLog(in)
	if err != nil {
		return nil, err
	}
	kind, ok := flowLogResources[in.ResourceType]
	if !ok {
		return nil, fail("InvalidParameter", "ResourceType", "Invalid resource type: %s", in.ResourceType).
			hint("use VPC, Subnet or NetworkInterface")
	}
	if n, most := len(in.ResourceIDs), tx.cfg.Quotas.FlowLogResourcesAtOnce; n == 0 || n > most {
		return nil, fail("MissingParameter", "ResourceIDs", "The request must contain 1 to %d of the parameter resourceId", most)
	}
	var out []*FlowLog
	for i, id := range in.ResourceIDs {
		field := element("ResourceIDs", i)
		if _, err := need[Object](&tx.View, kind, id, field); err != nil {
			return nil, err
		}
		f := *proto
		f.ResourceID = id
		if err := tx.flowLogFits(&f); err != nil {
			return nil, within(err, field)
		}
		if f.Meta, err = tx.meta(prefixFlowLog, in.Owner); err != nil {
			return nil, err
		}
		tx.put(&f)
		out = append(out, &f)
	}
	return out, nil
}

// flowLogResources are the resource types that can be watched.
var flowLogResources = map[string]Kind{"VPC": KindVPC, "Subnet": KindSubnet, "NetworkInterface": KindNetworkInterface}

// flowLog checks what all flow logs of one call have in common, and fills in AWS's defaults.
func (tx *Tx) flowLog(in CreateFlowLogsInput) (*FlowLog, error) {
	f := &FlowLog{
		TrafficType: in.TrafficType, LogDestinationType: in.LogDestinationType, LogFormat: in.LogFormat,
		MaxAggregationInterval: in.MaxAggregationInterval,
		HiveCompatible:         in.HiveCompatible, PerHourPartition: in.PerHourPartition, CreationTime: tx.now(),
	}
	switch f.TrafficType {
	case "ACCEPT", "REJECT", "ALL":
	case "":
		return nil, fail("MissingParameter", "TrafficType", "The request must contain the parameter TrafficType").
			hint("use ACCEPT, REJECT or ALL")
	default:
		return nil, fail("InvalidParameter", "TrafficType", "Invalid traffic type: %s", f.TrafficType).hint("use ACCEPT, REJECT or ALL")
	}
	switch f.LogDestinationType {
	case "":
		f.LogDestinationType = "s3"
	case "s3":
	case "cloud-watch-logs", "kinesis-data-firehose":
		return nil, fail("UnsupportedOperation", "LogDestinationType", "The log destination type %s is not available.", f.LogDestinationType).
			hint("use s3: files below the data directory")
	default:
		return nil, fail("InvalidParameter", "LogDestinationType", "Invalid log destination type: %s", f.LogDestinationType)
	}
	var err error
	if f.LogDestination, err = destination(in.LogDestination); err != nil {
		return nil, err
	}
	if f.LogFormat, err = tx.logFormat(in.LogFormat); err != nil {
		return nil, err
	}
	switch f.MaxAggregationInterval {
	case 0:
		f.MaxAggregationInterval = 600
	case 60, 600:
	default:
		return nil, fail("InvalidParameter", "MaxAggregationInterval", "Invalid Flow Log Max Aggregation Interval").hint("use 60 or 600")
	}
	return f, nil
}

const bucketARN = "arn:aws:s3:::"

// bucketName is the form of S3 bucket names; prefixPart that of each folder below (S3 user guide, safe characters).
var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	prefixPart = regexp.MustCompile(`^[A-Za-z0-9!_.*'()=-]{1,255}$`)
)

// destination checks a bucket and prefix, which become folders below the data directory, and gives them as an ARN.
func destination(s string) (string, error) {
	if s == "" {
		return "", fail("InvalidParameter", "LogDestination", "LogDestination can't be empty if LogGroupName is not provided.")
	}
	path := strings.TrimSuffix(strings.TrimPrefix(s, bucketARN), "/")
	bucket, prefix, nested := strings.Cut(path, "/")
	bad := fail("InvalidParameter", "LogDestination", "LogDestination: %s is not a valid bucket and folder", s).
		hint("write arn:aws:s3:::BUCKET or arn:aws:s3:::BUCKET/FOLDER")
	if !bucketName.MatchString(bucket) || strings.Contains(bucket, "..") {
		return "", bad
	}
	if nested {
		for part := range strings.SplitSeq(prefix, "/") {
			if !prefixPart.MatchString(part) || part == "." || part == ".." {
				return "", bad
			}
			if part == "AWSLogs" {
				return "", bad.hint("AWSLogs is a reserved folder name")
			}
		}
	}
	return bucketARN + path, nil
}

// logField is the form of one field of a log format.
var logField = regexp.MustCompile(`^\$\{[a-z0-9-]+\}$`)

// logFormat checks a log format; "" is the default one.
func (tx *Tx) logFormat(s string) (string, error) {
	fields := strings.Fields(s)
	if len(fields) == 0 {
		return DefaultLogFormat, nil
	}
	for _, f := range fields {
		if !logField.MatchString(f) {
			return "", fail("InvalidParameter", "LogFormat", "Invalid log format: %s", f).hint("write fields such as ${srcaddr}, with blanks between")
		}
	}
	format := strings.Join(fields, " ")
	if check := tx.cfg.CheckLogFormat; check != nil {
		if err := check(format); err != nil {
			return "", fail("InvalidParameter", "LogFormat", "%s", err.Error())
		}
	}
	return format, nil
}

// flowLogFits checks a flow log against the others of its resource.
func (tx *Tx) flowLogFits(f *FlowLog) error {
	others := tx.FlowLogsOf(f.ResourceID)
	same := func(o *FlowLog) bool { return o.TrafficType == f.TrafficType && o.LogDestination == f.LogDestination }
	if slices.ContainsFunc(others, same) {
		return fail("FlowLogAlreadyExists", "", "Error. There is an existing Flow Log with the same configuration and log destination.")
	}
	if len(others) >= tx.cfg.Quotas.FlowLogsPerResource {
		return fail("FlowLogsLimitExceeded", "", "You've reached the limit on the number of flow logs you can create.")
	}
	return nil
}

// DeleteFlowLogs deletes flow logs: all of them or, on any error, none.
// Errors: InvalidFlowLogId.NotFound, InvalidFlowLogId.Malformed, MissingParameter.
func (tx *Tx) DeleteFlowLogs(ids ...string) error {
	_, err := command(tx, func() (struct{}, error) {
		if len(ids) == 0 {
			return struct{}{}, fail("MissingParameter", "IDs", "The request must contain the parameter flowLogId")
		}
		for i, id := range ids {
			f, err := need[*FlowLog](&tx.View, KindFlowLog, id, element("IDs", i))
			if err != nil {
				return struct{}{}, err
			}
			tx.drop(f)
		}
		return struct{}{}, nil
	})
	return err
}

// dropFlowLogsOf deletes the flow logs of a resource that goes.
func (tx *Tx) dropFlowLogsOf(resourceID string) {
	for _, f := range tx.FlowLogsOf(resourceID) {
		tx.drop(f)
	}
}
