package issuers

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestMetrics(t *testing.T) {
	clk := clocktesting.NewFakePassiveClock(epoch.Add(30 * time.Minute))
	registry, freshness := NewRegistry(), NewFreshness(clk)
	freshness.hear("/secrets")
	issuer := newIssuer("shop", "https://shop.example", 0)
	add(t, registry, issuer, newRing(t, issuer))
	registry.markSynced()
	clk.SetTime(epoch.Add(30*time.Minute + 5*time.Second))

	want := `
# HELP keyturn_keys Keys of an issuer by state (Next, Active, Retiring, External).
# TYPE keyturn_keys gauge
keyturn_keys{issuer="default/shop",state="Active"} 1
keyturn_keys{issuer="default/shop",state="Next"} 1
keyturn_keys{issuer="default/shop",state="Retiring"} 0
# HELP keyturn_next_rotation_seconds Seconds until the next key of an issuer takes over; negative when that should have happened.
# TYPE keyturn_next_rotation_seconds gauge
keyturn_next_rotation_seconds{issuer="default/shop"} 1795
# HELP keyturn_revocations Revocations in force for an issuer.
# TYPE keyturn_revocations gauge
keyturn_revocations{issuer="default/shop"} 0
# HELP keyturn_rotation_overdue 1 while a rotation that should have happened has not.
# TYPE keyturn_rotation_overdue gauge
keyturn_rotation_overdue{issuer="default/shop"} 0
# HELP keyturn_sync_age_seconds Seconds since this replica last heard from the API server; up to about 60 when all is well.
# TYPE keyturn_sync_age_seconds gauge
keyturn_sync_age_seconds 5
# HELP keyturn_synced 1 once everything that the API server knew at the start is in force.
# TYPE keyturn_synced gauge
keyturn_synced 1
`
	collector := NewCollector(registry, freshness, clk)
	if err := testutil.CollectAndCompare(collector, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	clk.SetTime(epoch.Add(2 * time.Hour))
	overdue := "# HELP keyturn_rotation_overdue 1 while a rotation that should have happened has not.\n" +
		"# TYPE keyturn_rotation_overdue gauge\nkeyturn_rotation_overdue{issuer=\"default/shop\"} 1\n"
	if err := testutil.CollectAndCompare(collector, strings.NewReader(overdue), "keyturn_rotation_overdue"); err != nil {
		t.Error(err)
	}
	registry.deleteIssuer(nameOf(issuer))
	if count := testutil.CollectAndCount(collector, "keyturn_keys"); count != 0 {
		t.Errorf("%d series are left of an issuer that is gone", count)
	}
}
