package charts

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keyturn/keyturn/internal/testenv"
)

// notes returns what `helm install` says at its end.
func notes(t *testing.T, arguments ...string) string {
	t.Helper()
	install := []string{"install", release, chart, "--namespace", namespace, "--dry-run=client"}
	output, err := helm(t, append(install, arguments...)...)
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(output, "\nNOTES:\n")
	if !found {
		t.Fatal("there are no notes")
	}
	return text
}

func TestNotesForEveryValues(t *testing.T) {
	for name, values := range matrix(t) {
		text := notes(t, "--values", values)
		for _, problem := range []string{"<no value>", "<nil>", "%!", "\n\n\n"} {
			if strings.Contains(text, problem) {
				t.Errorf("%s: the notes have %q in them:\n%s", name, problem, text)
			}
		}
	}
}

// TestNotesLead checks that the notes name the next steps as they are for the release, and that the API server takes
// the issuer in them.
func TestNotesLead(t *testing.T) {
	for _, test := range []struct{ values, want, never string }{
		{"replicas=2", "https://keyturn-webhook.keyturn-system.svc/verify", "acts in"},
		{"replicas=2", "get configmap keyturn-tls -o", "comes from the Secret"},
		{"service.port=8443", "https://keyturn-webhook.keyturn-system.svc:8443/verify", "acts in"},
		{"tls.secretName=mine", "comes from the Secret mine", "its own certificate"},
		{"watchNamespaces={shop,billing}", "acts in shop, billing only", "-n default"},
		{"trustedProxies={10.0.0.0/8}", "set ingress.enabled or httpRoute.enabled", "Set trustedProxies"},
		{"ingress.enabled=true,ingress.hosts[0].host=a.example", "The Ingress keyturn publishes", "set ingress.enabled"},
	} {
		text := notes(t, "--set", test.values)
		if !strings.Contains(text, test.want) || strings.Contains(text, test.never) {
			t.Errorf("%s: the notes must say %q and not %q:\n%s", test.values, test.want, test.never, text)
		}
	}

	_, rest, _ := strings.Cut(notes(t), "<<END\n")
	// A shell ends the document at a line with this alone, without anything in front of it.
	issuer, _, found := strings.Cut(rest, "\nEND\n")
	if !found {
		t.Fatal("the notes have no issuer")
	}
	server, err := client.New(testenv.Environment(t).Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Create(t.Context(), decode(t, issuer)[0], client.DryRunAll); err != nil {
		t.Errorf("the issuer of the notes is refused: %v", err)
	}
}
