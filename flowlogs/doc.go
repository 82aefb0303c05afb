// Package flowlogs turns counted flows into VPC Flow Log records: it merges what the data plane
// counted into one record per flow and window, shows and streams records, writes them as AWS's text
// lines, and publishes them for each subscription as AWS lays files out in S3.
//
// It never looks at a frame, never judges one and never reads a clock: whoever calls it passes the
// time in, as Unix nanoseconds.
//
// Read record.go first, then aggregator.go (windows), format.go (lines) and publisher.go (files).
//
// The facts come from the VPC user guide: "Flow log records", "Flow log record examples", "Flow log
// limitations" and "Publish flow logs to Amazon S3".
package flowlogs
