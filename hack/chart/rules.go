package main

import (
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// builtIn tells for each resource of Kubernetes itself that the operator has rights on whether its objects are in
// namespaces. It is a table, and not asked of an API server, so that the chart can be generated without one. A test
// asks.
var builtIn = map[schema.GroupResource]bool{
	{Group: "", Resource: "configmaps"}:                                    true,
	{Group: "", Resource: "events"}:                                        true,
	{Group: "", Resource: "secrets"}:                                       true,
	{Group: "events.k8s.io", Resource: "events"}:                           true,
	{Group: "authentication.k8s.io", Resource: "tokenreviews"}:             false,
	{Group: "authorization.k8s.io", Resource: "subjectaccessreviews"}:      false,
	{Group: "authorization.k8s.io", Resource: "localsubjectaccessreviews"}: true,
}

// scoped are rules by the scope of what they are about.
type scoped struct {
	// namespaced can be granted by a Role, cluster only by a ClusterRole.
	namespaced, cluster []rbacv1.PolicyRule
}

// splitRules sorts rules by scope. A rule about resources of both scopes becomes two.
func splitRules(rules []rbacv1.PolicyRule, resources definitions) (scoped, error) {
	// Not nil: an empty list has to be written as one.
	split := scoped{namespaced: []rbacv1.PolicyRule{}, cluster: []rbacv1.PolicyRule{}}
	for _, rule := range rules {
		if len(rule.NonResourceURLs) > 0 {
			split.cluster = append(split.cluster, rule)
			continue
		}
		// For every group apart, since the same resource may have different scopes in two groups.
		for _, group := range rule.APIGroups {
			namespaced, cluster := rule.DeepCopy(), rule.DeepCopy()
			namespaced.APIGroups, namespaced.Resources = []string{group}, nil
			cluster.APIGroups, cluster.Resources = []string{group}, nil
			for _, resource := range rule.Resources {
				inNamespaces, err := resources.isNamespaced(group, resource)
				switch {
				case err != nil:
					return scoped{}, err
				case inNamespaces:
					namespaced.Resources = append(namespaced.Resources, resource)
				default:
					cluster.Resources = append(cluster.Resources, resource)
				}
			}
			if len(namespaced.Resources) > 0 {
				split.namespaced = append(split.namespaced, *namespaced)
			}
			if len(cluster.Resources) > 0 {
				split.cluster = append(split.cluster, *cluster)
			}
		}
	}
	return split, nil
}

// isNamespaced looks a resource up. A subresource, such as tokenissuers/status, has the scope of its resource.
func (d definitions) isNamespaced(group, resource string) (bool, error) {
	name, _, _ := strings.Cut(resource, "/")
	key := schema.GroupResource{Group: group, Resource: name}
	if namespaced, found := d.namespaced[key]; found {
		return namespaced, nil
	}
	if namespaced, found := builtIn[key]; found {
		return namespaced, nil
	}
	return false, fmt.Errorf("a rule of role.yaml is about %q, of which it is not known whether it is in namespaces: "+
		"add it to builtIn in hack/chart/rules.go", key)
}
