// The Redfish server of another project, which serves DMTF's mockup of a rack
// server: a module of its own, so that this project does not depend on theirs.
package main

import (
	"context"
	"log"
	"os"

	"github.com/go-logr/logr"
	"github.com/ironcore-dev/metal-operator/bmc/mock/server"
)

func main() {
	log.Fatal(server.NewMockServer(logr.Discard(), os.Args[1]).Start(context.Background()))
}
