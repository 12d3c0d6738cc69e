// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Base} from "./support/Base.sol";
import {Handler} from "./support/Handler.sol";

struct FuzzSelector {
    address addr;
    bytes4[] selectors;
}

/// @dev Any order of any actions. Checked after each: the books of both contracts (Books.checkBooks); during each: that
/// batches move along the arrows of the diagram alone and end once (Fold), that events tell the stored word (Fold.check),
/// what a settlement pays and takes (Books.settled); at the end of each run: that a stranger brings everything home.
contract InvariantsTest is Base {
    Handler private _handler;

    function setUp() public {
        _handler = new Handler();
        _handler.setUp();
        _handler.open(type(uint96).max / 3, type(uint96).max / 5, 80 days);
    }

    function targetContracts() public view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(_handler);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory list) {
        // Twice what leads on, so that runs get far.
        bytes4[26] memory actions = [
            Handler.open.selector,
            Handler.addFunds.selector,
            Handler.close.selector,
            Handler.commit.selector,
            Handler.commit.selector,
            Handler.commit.selector,
            Handler.draw.selector,
            Handler.draw.selector,
            Handler.reanchor.selector,
            Handler.attest.selector,
            Handler.attest.selector,
            Handler.replace.selector,
            Handler.disputeIt.selector,
            Handler.voteOn.selector,
            Handler.closeCommittee.selector,
            Handler.settleOne.selector,
            Handler.settleOne.selector,
            Handler.expire.selector,
            Handler.withdraw.selector,
            Handler.stake.selector,
            Handler.thaw.selector,
            Handler.unstake.selector,
            Handler.goAway.selector,
            Handler.comeBack.selector,
            Handler.wait.selector,
            Handler.give.selector
        ];
        list = new FuzzSelector[](1);
        list[0].addr = address(_handler);
        list[0].selectors = new bytes4[](27);
        for (uint256 i = 0; i < 26; i++) list[0].selectors[i] = actions[i];
        list[0].selectors[26] = Handler.govern.selector;
    }

    function invariant_the_books_add_up() public view {
        _handler.checkBooks();
    }

    function afterInvariant() public {
        _handler.driveHome();
        (uint256 committed, uint256 ended) = _handler.reached();
        eq(ended, committed, "every batch ended");
    }
}
