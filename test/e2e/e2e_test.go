package e2e

import (
	"flag"
	"testing"
	"time"
)

// The flags of the suite, besides those of go test.
var (
	operatorImage = flag.String("operator-image", "", "the operator's image, which the nodes have or can pull; required")
	clientImage   = flag.String("client-image", "keyturn-e2e:e2e", "the image of test/e2e/client, which the nodes have or can pull")
	chartFolder   = flag.String("chart", "../../charts/keyturn", "the folder of the chart")
	helmProgram   = flag.String("helm", "helm", "the path of Helm")
	outage        = flag.Duration("outage", time.Minute, "for how long to stop the API server")
	keep          = flag.Bool("keep", false, "leave everything in the cluster at the end")
)

func TestEndToEnd(t *testing.T) {
	if *operatorImage == "" {
		t.Skip("skipped: no cluster to install on is given; `make e2e` says how")
	}
	s := newSuite(t)
	s.removeEverything(t) // what a run with -keep has left
	t.Cleanup(func() {
		if *keep {
			t.Log("everything is left in the cluster, because of -keep")
			return
		}
		s.removeEverything(t)
	})
	for _, scenario := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"Install", s.install},
		{"Resources", s.resources},
		{"Rotations", s.rotations},
		{"Revocations", s.revocations},
		{"LeaderKilled", s.leaderKilled},
		{"RollingRestart", s.rollingRestart},
		{"Evictions", s.evictions},
		{"Outage", s.outage},
		{"UpgradeAndRollback", s.upgradeAndRollback},
		{"Reinstall", s.reinstall},
	} {
		passed := t.Run(scenario.name, func(t *testing.T) {
			start := time.Now()
			defer func() {
				if t.Failed() {
					s.dump(t)
				}
				t.Logf("%s took %s", scenario.name, time.Since(start).Round(time.Second))
			}()
			scenario.run(t)
		})
		if !passed && scenario.name == "Install" {
			t.Fatal("without an installation there is nothing more to see")
		}
	}
}
