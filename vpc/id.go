package vpc

import "strings"

// Prefixes of ids.
const (
	prefixVPC       = "vpc-"
	prefixSubnet    = "subnet-"
	prefixTable     = "rtb-"
	prefixInterface = "eni-"
	prefixGroup     = "sg-"
	prefixRule      = "sgr-"
	prefixPList     = "pl-"
	prefixInstance  = "i-"
	prefixFlowLog   = "fl-"
)

// idKind says what AWS answers for a bad id of one kind. AWS's own spelling follows no rule (VpcID, GroupId).
type idKind struct {
	kind      Kind
	prefix    string
	param     string // AWS's name of the request parameter
	malformed string // code
	notFound  string // code
	missing   string // message of notFound, with the id
}

var idKinds = []idKind{
	{KindVPC, prefixVPC, "vpcId", "InvalidVpcID.Malformed", "InvalidVpcID.NotFound", "The vpc ID '%s' does not exist"},
	{KindSubnet, prefixSubnet, "subnetId", "InvalidSubnetID.Malformed", "InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist"},
	{KindRouteTable, prefixTable, "routeTableId", "InvalidRouteTableId.Malformed", "InvalidRouteTableID.NotFound", "The routeTable ID '%s' does not exist"},
	{KindNetworkInterface, prefixInterface, "networkInterfaceId", "InvalidNetworkInterfaceId.Malformed", "InvalidNetworkInterfaceID.NotFound",
		"The networkInterface ID '%s' does not exist"},
	{KindSecurityGroup, prefixGroup, "groupId", "InvalidGroupId.Malformed", "InvalidGroup.NotFound", "The security group '%s' does not exist"},
	{KindPrefixList, prefixPList, "prefixListId", "InvalidPrefixListId.Malformed", "InvalidPrefixListID.NotFound", "The prefix list ID '%s' does not exist"},
	{KindInstance, prefixInstance, "instanceId", "InvalidInstanceID.Malformed", "InvalidInstanceID.NotFound", "The instance ID '%s' does not exist"},
	{KindFlowLog, prefixFlowLog, "flowLogId", "InvalidFlowLogId.Malformed", "InvalidFlowLogId.NotFound",
		"These flow log ids in the input list are not found: [TotalCount: 1] %s"},
}

// ruleIDs is the idKind of security group rules, which are no objects of their own.
var ruleIDs = idKind{"", prefixRule, "securityGroupRuleId", "InvalidSecurityGroupRuleId.Malformed", "InvalidSecurityGroupRuleId.NotFound",
	"The security group rule ID '%s' does not exist"}

func idsOf(kind Kind) *idKind {
	for i := range idKinds {
		if idKinds[i].kind == kind {
			return &idKinds[i]
		}
	}
	panic("vpc: no ids for kind " + string(kind))
}

// KindOf tells the kind of a well-formed id by its prefix.
func KindOf(id string) (Kind, bool) {
	for i := range idKinds {
		if wellFormed(id, idKinds[i].prefix) {
			return idKinds[i].kind, true
		}
	}
	return "", false
}

// wellFormed says whether id is the prefix and 17 (or, as AWS once made them, 8) hexadecimal digits.
func wellFormed(id, prefix string) bool {
	digits, ok := strings.CutPrefix(id, prefix)
	if !ok || (len(digits) != 17 && len(digits) != 8) {
		return false
	}
	for _, c := range []byte(digits) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// check gives AWS's error for an id that is empty or malformed.
func (k *idKind) check(id, field string) error {
	if id == "" {
		return fail("MissingParameter", field, "The request must contain the parameter %s", k.param)
	}
	if !wellFormed(id, k.prefix) {
		return fail(k.malformed, field, "Invalid id: %q (expecting %q)", id, k.prefix+"...")
	}
	return nil
}

// absent is AWS's error for an id that nothing has.
func (k *idKind) absent(id, field string) error { return fail(k.notFound, field, k.missing, id) }

// need looks up an object that a command names, or gives AWS's error.
func need[T Object](v *View, kind Kind, id, field string) (T, error) {
	k := idsOf(kind)
	var none T
	if err := k.check(id, field); err != nil {
		return none, err
	}
	o, ok := get[T](v, kind, id)
	if !ok {
		return none, k.absent(id, field)
	}
	return o, nil
}
