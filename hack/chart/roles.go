package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// roles are those of config/rbac.
type roles struct {
	manager, leaderElection, servingCertificate []rbacv1.PolicyRule

	people []peopleRole
}

// peopleRole is a ClusterRole for people. The cluster adds it to its own roles.
type peopleRole struct {
	Name string `json:"name"`
	// AggregateTo are the cluster's roles: view, edit, admin.
	AggregateTo []string            `json:"aggregateTo"`
	Rules       []rbacv1.PolicyRule `json:"rules"`
}

const aggregateTo = "rbac.authorization.k8s.io/aggregate-to-"

func readRoles(folder string) (roles, error) {
	manager, err := readRole(filepath.Join(folder, "role.yaml"))
	if err != nil {
		return roles{}, err
	}
	election, err := readRole(filepath.Join(folder, "leader_election_role.yaml"))
	if err != nil {
		return roles{}, err
	}
	serving, err := readRole(filepath.Join(folder, "serving_certificate_role.yaml"))
	if err != nil {
		return roles{}, err
	}
	people, err := readPeople(folder)
	if err != nil {
		return roles{}, err
	}
	return roles{
		manager: manager.Rules, leaderElection: election.Rules,
		servingCertificate: withPlaceholder(serving.Rules), people: people,
	}, nil
}

// servingSecret stands in the chart's files for the name of the Secret with the serving certificate, which depends on
// the release.
const servingSecret = "SERVING-SECRET"

// withPlaceholder puts servingSecret in the place of the Secret's name, which is the shortest of those in the rules:
// that of the authorities begins with it.
func withPlaceholder(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var names []string
	for _, rule := range rules {
		names = append(names, rule.ResourceNames...)
	}
	if len(names) == 0 {
		return rules
	}
	base := slices.MinFunc(names, func(a, b string) int { return len(a) - len(b) })
	for _, rule := range rules {
		for i, name := range rule.ResourceNames {
			rule.ResourceNames[i] = strings.Replace(name, base, servingSecret, 1)
		}
	}
	return rules
}

// readPeople reads the roles whose files say that they are for editors or viewers.
func readPeople(folder string) ([]peopleRole, error) {
	var people []peopleRole
	for _, pattern := range []string{"*_editor_role.yaml", "*_viewer_role.yaml"} {
		files, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			return nil, fmt.Errorf("looking for %s in %s: %w", pattern, folder, err)
		}
		for _, file := range files {
			role, err := readRole(file)
			if err != nil {
				return nil, err
			}
			person := peopleRole{Name: strings.TrimSuffix(role.Name, "-role"), Rules: role.Rules}
			for label := range role.Labels {
				if to, found := strings.CutPrefix(label, aggregateTo); found {
					person.AggregateTo = append(person.AggregateTo, to)
				}
			}
			if len(person.AggregateTo) == 0 {
				return nil, fmt.Errorf("the role in %s has no label %s…: nobody would have it", file, aggregateTo)
			}
			slices.Sort(person.AggregateTo)
			people = append(people, person)
		}
	}
	return people, nil
}

// readRole reads a Role or a ClusterRole.
func readRole(file string) (*rbacv1.ClusterRole, error) {
	document, err := os.ReadFile(file) //nolint:gosec // A file of the clone.
	if err != nil {
		return nil, fmt.Errorf("reading a role: %w", err)
	}
	var role rbacv1.ClusterRole
	err = yaml.UnmarshalStrict(document, &role)
	if err == nil && len(role.Rules) == 0 {
		err = errors.New("it has no rules")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the role in %s: %w", file, err)
	}
	return &role, nil
}
