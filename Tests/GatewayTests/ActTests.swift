// The stable words of acts: what a search in the audit log relies on.
import Audit
import Core
import Testing

@testable import Gateway

@Suite struct ActTests {
    @Test func everyActHasAWordOfItsOwn() {
        let acts = Route.allCases.filter(\.isAct)
        for route in acts {
            #expect(route.act.allSatisfy { $0.isLowercase || $0 == "." || $0 == "-" }, "\(route): \(route.act)")
            #expect(route.act != AuditAct.denied)
        }
        let named = acts.filter { $0 != .deployNamed }
        #expect(Set(named.map(\.act)).count == named.count)
    }

    @Test(arguments: [
        (Route.deploy, "deploy"), (.deployNamed, "deploy"), (.removeFunction, "function.remove"),
        (.setAlias, "alias.set"),
        (.createTenant, "tenant.create"), (.changeTenant, "tenant.change"), (.deleteTenant, "tenant.delete"),
        (.exportTenant, "tenant.export"), (.importTenant, "tenant.import"),
        (.createKey, "key.create"), (.changeKey, "key.change"), (.rotateKey, "key.rotate"), (.revokeKey, "key.revoke"),
        (.createPlatformKey, "platform-key.create"),
    ]) func words(_ route: Route, _ act: String) { #expect(route.act == act) }

    @Test func anAnswerLeavesNamesAndNoSecrets() {
        let event = AuditEvent(actor: "local", act: "key.create", target: "keys")
        let made = event.answered(
            .success(.object(["key": .string("swl_p_secret"), "id": .string("0a1b"), "comment": .string("mine")])),
            status: 201)
        #expect(made.detail == "id=0a1b" && made.status == 201)
        let failed = event.answered(
            .failure(RuntimeError(.badRequest, step: "create a key", cause: "'swl_p_secret' is odd", next: "")),
            status: 201)
        #expect(failed.detail == "bad_request: create a key" && failed.status == 400)
    }
}
