package operator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/api/v1alpha1"
	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// besideBroken makes the same issuers beside 50 that cannot become ready, which were there first, and then one after
// another a few more, as people do: none may wait for the broken ones. alone is how long it took without those, in
// seconds; 0 if it is not known.
func besideBroken(b *testing.B, alone float64) {
	w := newWorld(b, 10)
	p := testoperator.Run(w.Administrator, w.User(), "--log-level=info", "--allow-internal-addresses=127.0.0.1")
	p.WaitReady()
	w.makeBroken(sized(50, 20))
	time.Sleep(2 * time.Second) // all of them have been looked at, and are tried again and again

	issuers := w.newIssuers("shop", sized(1000, 20))
	began := time.Now()
	makeAll(w, issuers)
	w.awaitReady(issuers)
	converged := stopwatch(b, began, "converge-s")
	if alone > 0 {
		b.ReportMetric(converged/alone, "x-alone")
	}
	var last []time.Duration
	for i := range 10 {
		issuer := newIssuer(w.namespaces[i%len(w.namespaces)], fmt.Sprintf("last-%d", i))
		began := time.Now()
		w.Make(issuer)
		w.awaitReady([]*v1alpha1.TokenIssuer{issuer})
		last = append(last, time.Since(began))
		time.Sleep(500 * time.Millisecond) // others become due meanwhile
	}
	b.ReportMetric(quantile(last, 1).Seconds(), "last-ready-s")
	wantGood(p, p.Client(), w.tokens())
}

// makeBroken makes issuers that are broken in four ways, so many in all.
func (w *world) makeBroken(count int) {
	w.Helper()
	silent := w.silence()
	var broken []*v1alpha1.TokenIssuer
	refused, stuck := w.NewNamespace(), w.NewNamespace()
	w.emptied = append(w.emptied, refused, stuck)
	w.refuseSecrets(refused)
	w.hangSecrets(stuck, silent)
	for i := range count {
		namespace := w.namespaces[i%len(w.namespaces)]
		issuer := newIssuer(namespace, fmt.Sprintf("broken-%d", i))
		switch i % 4 {
		case 0: // its keys are never answered for
			issuer.Spec.Signing, issuer.Spec.JWKS = nil, v1alpha1.JWKSPolicy{}
			issuer.Spec.External = &v1alpha1.External{JWKSURL: "https://" + silent + "/keys"}
		case 1: // the name of its Secret is taken
			w.Make(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: issuer.Name + "-signing-key"}})
		case 2: // its writes are refused at once
			issuer.Namespace = refused
		default: // its writes are refused after ten seconds
			issuer.Namespace = stuck
		}
		broken = append(broken, issuer)
	}
	makeAll(w, broken)
}

// silence returns the address of a server that takes every connection and never says a word.
func (w *world) silence() string {
	w.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = listener.Close() })
	go func() {
		var open []net.Conn
		for {
			connection, err := listener.Accept()
			if err != nil {
				for _, connection := range open {
					_ = connection.Close()
				}
				return
			}
			open = append(open, connection)
		}
	}()
	return listener.Addr().String()
}

// refuseSecrets gives the namespace a quota that allows no Secret.
func (w *world) refuseSecrets(namespace string) {
	w.Helper()
	none := corev1.ResourceList{corev1.ResourceSecrets: resource.MustParse("0")}
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "no-secrets"}, Spec: corev1.ResourceQuotaSpec{Hard: none},
	}
	w.Make(quota)
	quota.Status = corev1.ResourceQuotaStatus{Hard: none, Used: none} // as the controller would find it
	if err := w.Status().Update(w.Context(), quota); err != nil {
		w.Fatal(err)
	}
}

// hangSecrets has every write of a Secret in the namespace wait for a webhook that does not answer.
func (w *world) hangSecrets(namespace, silent string) {
	w.Helper()
	webhook := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name:              "silent.example.com",
			ClientConfig:      admissionv1.WebhookClientConfig{URL: ptr.To("https://" + silent + "/")},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
			}},
			SideEffects: ptr.To(admissionv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
			TimeoutSeconds: ptr.To[int32](10),
		}},
	}
	w.Make(webhook)
	w.Cleanup(func() { _ = w.Delete(context.WithoutCancel(w.Context()), webhook) })
	testoperator.Eventually(w.TB, "the webhook in force", func() error {
		probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "probe-"}}
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		if err := w.Create(ctx, probe, client.DryRunAll); err == nil {
			return errors.New("a Secret passes")
		}
		return nil
	})
}
