package operator

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

// TestServingCertificateOfItsOwn starts two replicas that are confined to a namespace in which they may read no other
// Secret than those of the serving certificate by name. One ca.crt is good for both, also after all of it was
// replaced.
func TestServingCertificateOfItsOwn(t *testing.T) {
	a := testoperator.NewAdministrator(t)
	elsewhere := a.NewNamespace()
	kubeconfig := a.User(elsewhere)
	flags := []string{"--namespaces=" + elsewhere, "--tls-secret=keyturn-tls", "--tls-secret-namespace=" + a.Namespace}
	replicas := []*testoperator.Process{
		testoperator.Run(a, kubeconfig, flags...), testoperator.Run(a, kubeconfig, flags...),
	}
	for _, p := range replicas {
		p.WaitReady()
	}
	secret := a.Secret(a.Namespace, "keyturn-tls")
	for _, p := range replicas {
		if err := handshake(p, secret); err != nil {
			t.Error(err)
		}
		if !strings.Contains(p.Scrape(), "keyturn_certificate_expiry_timestamp_seconds 1.") {
			t.Error("the metric does not tell when the certificate expires")
		}
	}

	before := bytes.Clone(secret.Data[corev1.TLSCertKey])
	if err := a.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	for _, p := range replicas {
		testoperator.Eventually(t, "the next certificate", func() error {
			now := &corev1.Secret{}
			if err := a.Get(t.Context(), client.ObjectKeyFromObject(secret), now); err != nil {
				return err
			}
			if bytes.Equal(now.Data[corev1.TLSCertKey], before) {
				return errors.New("it is the one of before")
			}
			p.Alive()
			return errors.Join(handshake(p, now), handshakeWith(p, secret.Data["ca.crt"], now.Data[corev1.TLSCertKey]))
		})
		if code, body := p.Status("/readyz"); code != http.StatusOK {
			t.Errorf("/readyz answers %d %s", code, body)
		}
	}
	for _, p := range replicas {
		if strings.Contains(p.Log.String(), "PRIVATE KEY") {
			t.Error("a key is in the log")
		}
	}
}

// handshake fails unless the replica serves what is in the Secret, and a client who trusts its ca.crt accepts it.
func handshake(p *testoperator.Process, secret *corev1.Secret) error {
	return handshakeWith(p, secret.Data["ca.crt"], secret.Data[corev1.TLSCertKey])
}

func handshakeWith(p *testoperator.Process, trusted, certificate []byte) error {
	pool, want := x509.NewCertPool(), x509.NewCertPool()
	if !pool.AppendCertsFromPEM(trusted) || !want.AppendCertsFromPEM(certificate) {
		return errors.New("the Secret holds no certificates")
	}
	conn, err := tls.Dial("tcp", p.HTTPS, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13})
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", p.HTTPS, err)
	}
	defer func() { _ = conn.Close() }()
	served := x509.NewCertPool()
	served.AddCert(conn.ConnectionState().PeerCertificates[0])
	if !served.Equal(want) {
		return errors.New("it serves another certificate than that of the Secret")
	}
	return nil
}
