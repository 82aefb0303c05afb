package netns_test

import (
	"testing"

	"github.com/vpclab/vpclab/instances/drivertest"
	"github.com/vpclab/vpclab/instances/netns"
)

func TestDriverByHelper(t *testing.T) {
	needsRoot(t)
	checkHost(t)
	drivertest.Run(t, netns.NewBy(netns.ByHelper))
}
