package main

import "github.com/vpclab/vpclab/internal/agent"

// here is this program's own agent.
var here local = agent.Local{Version: build().Version}
