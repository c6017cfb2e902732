//go:build crds

package main

// The manifests of this module are applied (config/crd/standard); no code of it is compiled.
import _ "sigs.k8s.io/gateway-api/apis/v1"
