package charts

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
)

// TestPublicPaths checks that the world reaches the public endpoints of each issuer, and nothing else.
func TestPublicPaths(t *testing.T) {
	for _, test := range []struct {
		issuerPath string
		want       []string
	}{
		{"/", []string{"/.well-known", "/token", "/revoke", "/session"}},
		{"/staff", []string{
			"/staff/.well-known", "/.well-known/oauth-authorization-server/staff", "/staff/token", "/staff/revoke",
			"/staff/session",
		}},
		{"/a/b/", []string{
			"/a/b/.well-known", "/.well-known/oauth-authorization-server/a/b", "/a/b/token", "/a/b/revoke", "/a/b/session",
		}},
	} {
		objects := render(t,
			"--set", "ingress.enabled=true,ingress.hosts[0].host=tokens.example",
			"--set", "ingress.hosts[0].issuerPaths={"+test.issuerPath+"}",
			"--set", "httpRoute.enabled=true,httpRoute.parentRefs[0].name=public",
			"--set", "httpRoute.issuerPaths={"+test.issuerPath+"}")
		ingress := one[networkingv1.Ingress](objects, "Ingress", "")
		var got []string
		for _, path := range ingress.Spec.Rules[0].HTTP.Paths {
			got = append(got, path.Path)
			to := path.Backend.Service
			if *path.PathType != networkingv1.PathTypePrefix || to.Name != "keyturn-webhook" || to.Port.Name != "https" {
				t.Errorf("the Ingress leads %s to %+v", path.Path, to)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("the Ingress of an issuer at %s (-want +got):\n%s", test.issuerPath, diff)
		}
		var route httpRouteSpec
		if err := readSpec(objects.all("HTTPRoute")[0], &route); err != nil {
			t.Fatal(err)
		}
		got = nil
		for _, rule := range route.Rules {
			for _, match := range rule.Matches {
				got = append(got, match.Path.Value)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("the HTTPRoute of an issuer at %s (-want +got):\n%s", test.issuerPath, diff)
		}
		if slices.Contains(got, "/") {
			t.Error("everything is public")
		}
	}
}

// TestOptionalObjectsAreOff checks that a cluster without anybody's custom resources can take the defaults.
func TestOptionalObjectsAreOff(t *testing.T) {
	kinds := map[string]int{}
	for _, object := range render(t).objects {
		kinds[object.GetKind()]++
	}
	want := map[string]int{
		"CustomResourceDefinition": 3, "ClusterRole": 7, "ClusterRoleBinding": 1, "Role": 2, "RoleBinding": 2,
		"ServiceAccount": 1, "Service": 2, "Deployment": 1, "PodDisruptionBudget": 1,
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("the defaults install (-want +got):\n%s", diff)
	}
}
