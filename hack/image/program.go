package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// program is what an image can be of.
type program struct {
	// what is what an error and the image's history call it.
	what string
	// source is the folder of its package in the clone, and entrypoint where it is in the image.
	source, entrypoint string
	title, description string
	ports              []string
}

// programs are the images that can be made, by the name of the flag -program.
var programs = map[string]program{
	"operator": {
		what: "operator", source: "./cmd/keyturn", entrypoint: "/keyturn", title: "Keyturn",
		description: "The Kubernetes operator for JWT signing keys, sessions, verification and revocation.",
		ports:       []string{"8443/tcp", "8080/tcp", "8081/tcp"},
	},
	"signer": {
		what: "example of a workload", source: "./examples/signer", entrypoint: "/signer", title: "Keyturn example: signer",
		description: "Signs a token with the key that Keyturn keeps in a Secret, and prints it.",
	},
	"e2e-client": {
		what: "client of the end-to-end suite", source: "./test/e2e/client", entrypoint: "/client", title: "Keyturn end-to-end client",
		description: "Mints, verifies and revokes tokens in the end-to-end suite of Keyturn, and breaks the cluster there.",
		ports:       []string{"8080/tcp"},
	},
}

func programNamed(name string) (program, error) {
	found, known := programs[name]
	if !known {
		return program{}, fmt.Errorf("-program: there is no %q: choose one of %s",
			name, strings.Join(slices.Sorted(maps.Keys(programs)), ", "))
	}
	return found, nil
}
