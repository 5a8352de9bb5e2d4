package main

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
)

// Without an election nothing is remembered of the revocations that come in, because nobody would take it back.
func TestAReplicaAloneRemembersNothing(t *testing.T) {
	for _, elects := range []bool{false, true} {
		f := newFleet(&options{leaderElect: elects})
		if remembers := f.progress != nil; remembers != elects {
			t.Errorf("elects %t, remembers %t", elects, remembers)
		}
		revocation := &v1alpha1.TokenRevocation{ObjectMeta: metav1.ObjectMeta{
			Name: "r", ResourceVersion: "1", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		}}
		kept, err := f.received(revocation)
		if err != nil || len(kept.(*v1alpha1.TokenRevocation).ManagedFields) > 0 {
			t.Errorf("elects %t: keeps %+v, error %v, want it without managed fields", elects, kept, err)
		}
	}
}
