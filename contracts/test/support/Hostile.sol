// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @dev A token that calls back while it moves, can take a fee, and has people it does not pay.
contract HostileToken is ERC20("Hostile", "HOST") {
    uint256 private _fee;
    mapping(address => bool) private _blocked;
    address private _target;
    bytes private _call;
    bool public calledBack;
    bytes public answer;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function setFee(uint256 fee) external {
        _fee = fee;
    }

    function block_(address who, bool blocked) external {
        _blocked[who] = blocked;
    }

    /// @dev Once, at the next movement.
    function callBack(address target, bytes calldata data) external {
        (_target, _call, calledBack) = (target, data, false);
    }

    function _update(address from, address to, uint256 amount) internal override {
        require(!_blocked[to], "blocked");
        if (_target != address(0) && from != address(0)) {
            address target = _target;
            _target = address(0);
            bool ok;
            (ok, answer) = target.call(_call);
            calledBack = true;
            require(!ok, "the call back came through");
        }
        super._update(from, to, amount);
        if (_fee != 0 && from != address(0) && to != address(0)) super._update(to, address(0xFEE), _fee);
    }
}

/// @dev A wallet whose answer to "is this your signature" is an attack.
contract HostileWallet is IERC1271 {
    enum Mode {
        Says,
        SaysNothing,
        Burns,
        Floods,
        Reenter
    }

    Mode private _mode;
    address private _target;
    bytes private _call;

    function set(Mode mode, address target, bytes calldata data) external {
        (_mode, _target, _call) = (mode, target, data);
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        if (_mode == Mode.Says) return IERC1271.isValidSignature.selector;
        if (_mode == Mode.SaysNothing) return 0;
        if (_mode == Mode.Burns) while (true) {}
        if (_mode == Mode.Floods) {
            assembly {
                return(0, 200000)
            }
        }
        // As if it were a view: the callee's first write fails.
        (bool ok,) = _target.staticcall(_call);
        return ok ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}
