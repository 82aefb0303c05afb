package flowlogs

// field is a number in the table of fields.
type field uint8

// The fields that a record of a network interface can fill, in AWS's order.
// Those after the last of them are always "-" in a VPC without what they tell of.
const (
	fieldVersion field = iota
	fieldAccountID
	fieldInterfaceID
	fieldSrcAddr
	fieldDstAddr
	fieldSrcPort
	fieldDstPort
	fieldProtocol
	fieldPackets
	fieldBytes
	fieldStart
	fieldEnd
	fieldAction
	fieldLogStatus
	fieldVPCID
	fieldSubnetID
	fieldInstanceID
	fieldTCPFlags
	fieldType
	fieldPktSrcAddr
	fieldPktDstAddr
	fieldRegion
	fieldZoneID
	fieldSublocationType
	fieldSublocationID
	fieldPktSrcService
	fieldPktDstService
	fieldDirection
	fieldTrafficPath

	// fieldUnknown is a column of a file that this table does not know.
	fieldUnknown field = 255
)

// kind is what a field's values look like.
type kind uint8

const (
	text kind = iota
	number
	address
)

// The longest values. Identifiers have AWS's shape: a prefix and 17 hexadecimal digits.
const (
	widthVersion   = 2
	widthAccount   = 12
	widthInterface = len("eni-") + 17
	widthAddress   = len("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	widthPort      = 5
	widthProtocol  = 3
	widthCount     = 20
	widthTime      = 20
	widthAction    = 6
	widthStatus    = 8
	widthVPC       = len("vpc-") + 17
	widthSubnet    = len("subnet-") + 17
	widthInstance  = len("i-") + 17
	widthFlags     = 3
	widthType      = 4
	widthRegion    = 16
	widthZone      = 16
	widthDirection = 7
	widthPath      = 3
	widthNone      = 1

	fieldsAlwaysNone = 4 + 10 + 3 + 12 // versions 4 and 5, 7, 8 to 10, 11
)

// MaxLine is the length of the longest line that a format without repeated fields can give, without
// a newline.
const MaxLine = widthVersion + widthAccount + widthInterface + 4*widthAddress + 2*widthPort +
	widthProtocol + 2*widthCount + 2*widthTime + widthAction + widthStatus + widthVPC + widthSubnet +
	widthInstance + widthFlags + widthType + widthRegion + widthZone + widthDirection + widthPath +
	fieldsAlwaysNone*widthNone + numFields - 1

const numFields = 54

// fields is AWS's table: "Flow log records", available fields; versions 2 to 11.
// Version 6 is that of transit gateway flow logs.
var fields = [numFields]struct {
	name    string
	version uint8
	kind    kind
	width   int
}{
	{"version", 2, number, widthVersion},
	{"account-id", 2, text, widthAccount},
	{"interface-id", 2, text, widthInterface},
	{"srcaddr", 2, address, widthAddress},
	{"dstaddr", 2, address, widthAddress},
	{"srcport", 2, number, widthPort},
	{"dstport", 2, number, widthPort},
	{"protocol", 2, number, widthProtocol},
	{"packets", 2, number, widthCount},
	{"bytes", 2, number, widthCount},
	{"start", 2, number, widthTime},
	{"end", 2, number, widthTime},
	{"action", 2, text, widthAction},
	{"log-status", 2, text, widthStatus},
	{"vpc-id", 3, text, widthVPC},
	{"subnet-id", 3, text, widthSubnet},
	{"instance-id", 3, text, widthInstance},
	{"tcp-flags", 3, number, widthFlags},
	{"type", 3, text, widthType},
	{"pkt-srcaddr", 3, address, widthAddress},
	{"pkt-dstaddr", 3, address, widthAddress},
	{"region", 4, text, widthRegion},
	{"az-id", 4, text, widthZone},
	{"sublocation-type", 4, text, widthNone},
	{"sublocation-id", 4, text, widthNone},
	{"pkt-src-aws-service", 5, text, widthNone},
	{"pkt-dst-aws-service", 5, text, widthNone},
	{"flow-direction", 5, text, widthDirection},
	{"traffic-path", 5, number, widthPath},
	{"ecs-cluster-arn", 7, text, widthNone},
	{"ecs-cluster-name", 7, text, widthNone},
	{"ecs-container-instance-arn", 7, text, widthNone},
	{"ecs-container-instance-id", 7, text, widthNone},
	{"ecs-container-id", 7, text, widthNone},
	{"ecs-second-container-id", 7, text, widthNone},
	{"ecs-service-name", 7, text, widthNone},
	{"ecs-task-definition-arn", 7, text, widthNone},
	{"ecs-task-arn", 7, text, widthNone},
	{"ecs-task-id", 7, text, widthNone},
	{"reject-reason", 8, text, widthNone},
	{"resource-id", 9, text, widthNone},
	{"encryption-status", 10, text, widthNone},
	{"instance-tag", 11, text, widthNone},
	{"instance-tag-2", 11, text, widthNone},
	{"interface-tag", 11, text, widthNone},
	{"interface-tag-2", 11, text, widthNone},
	{"asg-tag", 11, text, widthNone},
	{"asg-tag-2", 11, text, widthNone},
	{"interface-type", 11, text, widthNone},
	{"next-hop-interface-id", 11, text, widthNone},
	{"next-hop-subnet-id", 11, text, widthNone},
	{"next-hop-az-id", 11, text, widthNone},
	{"next-hop-vpc-id", 11, text, widthNone},
	{"next-hop-interface-type", 11, text, widthNone},
}

var fieldByName = func() map[string]field {
	m := make(map[string]field, len(fields))
	for i, f := range fields {
		m[f.name] = field(i)
	}
	return m
}()
