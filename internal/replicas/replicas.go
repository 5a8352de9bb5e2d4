// Package replicas lets the leader know which replicas are alive and how far each of them has applied the
// TokenRevocations, so that Enforced can be said of all of them. Each replica keeps a Lease in the operator's own
// namespace:
//
//	watch ──► Progress ──► Reporter ──► Lease ──► Fleet (on the leader) ──► Enforced
//
// The Lease is renewed while the replica serves anybody, also while it drains, and deleted when it ends. One that ends
// without a word counts until its Lease has run out; so does one that is cut off from the API server, which counts again
// once it has caught up. A replica lets no token pass before it has a Lease.
package replicas

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

const (
	// LeaseDuration is how long a replica counts that is not heard of any more.
	LeaseDuration = 20 * time.Second
	// renewPeriod leaves room for two renewals that fail.
	renewPeriod = 5 * time.Second
	// appliedAnnotation holds the Position.
	appliedAnnotation = "keyturn.dev/applied-revocations"
)

// Selector finds the Leases of replicas.
func Selector() labels.Selector {
	return labels.SelectorFromSet(labels.Set{v1alpha1.LabelComponent: v1alpha1.ComponentReplica})
}

var notInNames = regexp.MustCompile(`[^a-z0-9-]+`)

// NewName returns a name for the Lease of this process: that of its host, which is the pod's, and a suffix, because a
// container that was started again must not be taken for the one that has died.
func NewName() string {
	host, _ := os.Hostname() // without one it has the other name
	host = strings.Trim(notInNames.ReplaceAllString(strings.ToLower(host), "-"), "-")
	if host == "" {
		host = "replica"
	}
	return fmt.Sprintf("%.63s-%s", host, rand.String(5))
}
