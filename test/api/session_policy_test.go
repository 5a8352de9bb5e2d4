package api

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/keyturn/keyturn/api/v1alpha1"
	domain "github.com/keyturn/keyturn/internal/session"
)

// TestSessionDefaultsAgree compares what the schema fills in with what the code that acts on it calls the default.
func TestSessionDefaultsAgree(t *testing.T) {
	created := &v1alpha1.TokenIssuer{ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: namespace}}
	if err := yaml.UnmarshalStrict([]byte(sessionsIssuer), &created.Spec); err != nil {
		t.Fatal(err)
	}
	if err := apiServer(t).Create(t.Context(), created, client.DryRunAll); err != nil {
		t.Fatalf("refused: %v", err)
	}
	got, want := created.Spec.Sessions, domain.DefaultPolicy()
	for name, pair := range map[string][2]time.Duration{
		"accessLifetime":   {got.AccessLifetime.Duration, want.AccessLifetime},
		"idleLifetime":     {got.IdleLifetime.Duration, want.IdleLifetime},
		"absoluteLifetime": {got.AbsoluteLifetime.Duration, want.AbsoluteLifetime},
		"graceWindow":      {got.GraceWindow.Duration, want.GraceWindow},
	} {
		if pair[0] != pair[1] {
			t.Errorf("the default of %s is %s in the schema and %s in the code", name, pair[0], pair[1])
		}
	}
	if int(got.MaxPerSubject) != want.MaxPerSubject || (got.AfterRollback == v1alpha1.RollbackEndSession) != want.EndAfterRollback {
		t.Errorf("the defaults are %d and %s in the schema, %d and %v in the code", got.MaxPerSubject, got.AfterRollback, want.MaxPerSubject, want.EndAfterRollback)
	}
	for schema, code := range map[v1alpha1.SessionSource]domain.Source{
		v1alpha1.SessionFromWorkload: domain.SourceWorkload,
		v1alpha1.SessionFromPassword: domain.SourcePassword,
		v1alpha1.SessionFromUpstream: domain.SourceUpstream,
	} {
		if string(schema) != string(code) {
			t.Errorf("the source %q of the schema is %q in the code", schema, code)
		}
	}
}
